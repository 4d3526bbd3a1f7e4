"""The installed metrics: pure functions from texts to per-example scores. A spec names them; it never brings one."""
