"""Which extra of the distribution brings which package."""

_EXTRAS = {
    "cli": {"rich", "typer"},
    "server": {
        "aiohttp",
        "grpc_health",
        "grpc_reflection",
        "orjson",
        "phonenumbers",
        "prometheus_client",
        "uvloop",
    },
    "postgresql": {"asyncpg"},
    "bench": {"hpack", "matplotlib"},
}


def explain(error: ModuleNotFoundError) -> str | None:
    """Return one line that says what to install, None for a module that is not ours to bring."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in _EXTRAS.items():
        if package in packages:
            return f"this needs the package {package}; run: pip install 'watchword[{extra}]'"
    return None
