"""What people start: the command line, the report, the viewer, the doctor and the demonstration."""
