"""One file a mailer. Each runs as a process of its own and prints one line of JSON: see `common.finish`."""
