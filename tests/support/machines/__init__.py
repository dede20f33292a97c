"""What stands in for a device, an engine, a board or a server."""
