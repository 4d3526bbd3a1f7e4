"""One sweep, run four ways on one machine: a loop of TRL processes, our reference engine, packed, packed in part."""
