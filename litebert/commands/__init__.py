"""What stands behind each word on the command line, one file for each stage of the way."""
