"""The families, one file each; a module here is imported, and so registered, by being here."""
