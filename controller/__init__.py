"""The sweep: plans, submits, observes and reports. Never imports torch."""
