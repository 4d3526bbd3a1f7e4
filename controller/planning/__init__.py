"""From a spec to stored plans and requests: trials with ids and letters, groups, pins, bounds."""
