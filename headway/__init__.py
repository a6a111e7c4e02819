"""Headway, a task scheduler for operations: the one import package, over the folders beside this one."""
