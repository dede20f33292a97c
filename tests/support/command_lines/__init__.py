"""What tests of the command lines share."""
