"""What every part may use: devices, processes, files, memory."""
