venv = Path.expand("../../.venv/bin/python3", __DIR__)
if System.get_env("SNAKEMUX_PYTHON") == nil and File.exists?(venv), do: System.put_env("SNAKEMUX_PYTHON", venv)

ExUnit.start(capture_log: true)
