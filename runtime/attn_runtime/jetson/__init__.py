"""Jetson boards: what each can run, and the setup that builds, proves and times a bundle on one."""
