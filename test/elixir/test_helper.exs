venv = Path.expand("../../.venv/bin/python3", __DIR__)
if System.get_env("SNAKEMUX_PYTHON") == nil and File.exists?(venv), do: System.put_env("SNAKEMUX_PYTHON", venv)

# The application needs Erlang's logger only; Elixir's captures what it says.
{:ok, _} = Application.ensure_all_started(:logger)
ExUnit.start(capture_log: true)
