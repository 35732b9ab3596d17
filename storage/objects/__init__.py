"""Object stores that keep what they are given: the port, a directory, any S3 with object lock."""
