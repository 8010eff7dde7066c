"""The bodies of all APIs as types, and from a body to what is submitted. Pure."""
