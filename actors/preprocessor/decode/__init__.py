"""From bytes to pixels, frames and samples: what a decode worker runs, under its limits. No sockets here."""
