"""The walls around a child: what a process that reads a stranger's file may still do."""
