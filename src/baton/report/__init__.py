"""One tree to terminal, Markdown, HTML, JSON, JUnit. Must not decide anything."""
