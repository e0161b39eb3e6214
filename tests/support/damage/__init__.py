"""Damage: what is done to a store, an export or a pack, and the word by which it must be found."""
