"""The project's own kinds of output, as MIME types; their records are made in `experiment`."""

CLAIM_MIME = "application/vnd.kexian.claim+json"
RUN_MIME = "application/vnd.kexian.run+json"
FIGURE_MIME = "application/vnd.kexian.figure+json"
HEADLINE_MIME = "application/vnd.kexian.headline+json"
YARDSTICK_MIME = "application/vnd.kexian.yardstick+json"
