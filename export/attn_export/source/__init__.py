"""What the user names, and the declared inputs that go with it, as a module that can be exported."""
