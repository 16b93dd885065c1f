"""What this machine is and can do, for a bug report; nothing here may fail on a strange one."""
