"""The example world of `run`: invented clients, people and grants, and accounts to sign in with."""

from govern.example.world import code, load

__all__ = ["code", "load"]
