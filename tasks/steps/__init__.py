"""The steps of a deploy, in their order: preflight, install, kernel, instances. Each acts on differences only."""
