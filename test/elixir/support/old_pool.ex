defmodule Snakemux.OldPool do
  @moduledoc """
  A pool of stdin/stdout workers as people run it: as small as it can be, and true to the protocol. Each worker is a port
  with frames of `{:packet, 4}`, opened with what an adapter says; a call is one request to an idle worker.
  """
  use GenServer

  alias Snakemux.OldPool.Json

  def start_link(opts), do: GenServer.start_link(__MODULE__, Map.new(opts))

  @doc "`{:ok, result}` or `{:error, reason}`, after at most 30 seconds."
  def execute(pool, command, args), do: GenServer.call(pool, {:execute, command, args}, 60_000)

  @doc "Pings all workers, also those that are busy: how many answered."
  def health(pool), do: GenServer.call(pool, :health, 30_000)

  @impl true
  def init(%{adapter: adapter, size: size} = opts) do
    ports = for n <- 1..size, do: open(adapter, n)
    if opts[:negotiate], do: Enum.each(ports, &negotiate/1)
    Enum.each(ports, &init_ping/1)
    {:ok, %{idle: ports, ports: ports, waiting: :queue.new(), calls: %{}, exits: 0, next: 100}}
  end

  defp open(adapter, n) do
    args = [adapter.script_path() | adapter.script_args()]
    options = [:binary, :exit_status, {:packet, 4}, {:args, args}]
    {Port.open({:spawn_executable, adapter.executable_path()}, options), "pool_worker_1_#{n}"}
  end

  defp negotiate({port, _}) do
    supported = ["msgpack", "json"]
    send_json(port, %{type: "protocol_negotiation", supported: supported, preferred: "json", timestamp: now()})
    %{"type" => "protocol_selected", "protocol" => "json"} = receive_json(port, 5_000)
  end

  defp init_ping({port, id}) do
    args = %{initialization: true, worker_id: id}
    send_json(port, %{id: 1, command: "ping", args: args, timestamp: now()})
    %{"id" => 1, "success" => true, "result" => %{"status" => "ok"}} = receive_json(port, 20_000)
  end

  @impl true
  def handle_call({:execute, command, args}, from, state) do
    {:noreply, pump(%{state | waiting: :queue.in({from, command, args}, state.waiting)})}
  end

  def handle_call(:health, from, state) do
    calls =
      for {{port, _}, n} <- Enum.with_index(state.ports), into: %{} do
        id = state.next + n
        send_json(port, %{id: id, command: "ping", args: %{health_check: true}, timestamp: now()})
        {{port, id}, {:health, from}}
      end

    counted = {:counting, length(state.ports), 0}

    {:noreply,
     %{state | calls: state.calls |> Map.merge(calls) |> Map.put({:health, from}, counted), next: state.next + 100}}
  end

  @impl true
  def handle_info({port, {:data, frame}}, state) do
    reply = %{"id" => id} = Json.decode(frame)
    {call, calls} = Map.pop!(state.calls, {port, id})
    answered(call, port, reply, %{state | calls: calls})
  end

  def handle_info({_port, {:exit_status, _}}, state), do: {:stop, :worker_exit, state}

  defp answered({:health, from}, _, %{"success" => true}, state) do
    case state.calls[{:health, from}] do
      {:counting, 1, ok} ->
        GenServer.reply(from, ok + 1)
        {:noreply, %{state | calls: Map.delete(state.calls, {:health, from})}}

      {:counting, left, ok} ->
        {:noreply, %{state | calls: Map.put(state.calls, {:health, from}, {:counting, left - 1, ok + 1})}}
    end
  end

  defp answered({:execute, from, worker, timer}, _, reply, state) do
    Process.cancel_timer(timer)

    case reply do
      %{"success" => true, "result" => result} -> GenServer.reply(from, {:ok, result})
      %{"success" => false, "error" => error} -> GenServer.reply(from, {:error, error})
    end

    {:noreply, pump(%{state | idle: [worker | state.idle]})}
  end

  defp pump(%{idle: [{port, _} = worker | idle]} = state) do
    case :queue.out(state.waiting) do
      {{:value, {from, command, args}}, waiting} ->
        send_json(port, %{id: state.next, command: command, args: args, timestamp: now()})
        timer = Process.send_after(self(), :worker_timeout, 30_000)
        calls = Map.put(state.calls, {port, state.next}, {:execute, from, worker, timer})
        pump(%{state | idle: idle, waiting: waiting, calls: calls, next: state.next + 1})

      {:empty, _} ->
        state
    end
  end

  defp pump(state), do: state

  defp send_json(port, map), do: Port.command(port, Json.encode(map))

  defp receive_json(port, timeout) do
    receive do
      {^port, {:data, frame}} -> Json.decode(frame)
      {^port, {:exit_status, status}} -> raise "a worker ended with status #{status}"
    after
      timeout -> raise "a worker said nothing for #{timeout} ms"
    end
  end

  defp now, do: DateTime.utc_now() |> DateTime.to_iso8601()
end

defmodule Snakemux.OldPool.Json do
  @moduledoc false

  def encode(value), do: value |> put() |> IO.iodata_to_binary()

  defp put(nil), do: "null"
  defp put(value) when is_boolean(value) or is_integer(value), do: to_string(value)
  defp put(value) when is_float(value), do: Float.to_string(value)
  defp put(value) when is_atom(value), do: put(Atom.to_string(value))
  defp put(value) when is_binary(value), do: [?", for(<<c::utf8 <- value>>, do: escape(c)), ?"]
  defp put(value) when is_list(value), do: [?[, value |> Enum.map(&put/1) |> Enum.intersperse(?,), ?]]

  defp put(value) when is_map(value) do
    pairs = value |> Enum.map(fn {k, v} -> {to_string(k), v} end) |> Enum.sort()
    [?{, pairs |> Enum.map(fn {k, v} -> [put(k), ?:, put(v)] end) |> Enum.intersperse(?,), ?}]
  end

  defp escape(c) when c in [?", ?\\], do: [?\\, c]
  defp escape(c) when c < 0x20, do: :io_lib.format("\\u~4.16.0b", [c])
  defp escape(c), do: <<c::utf8>>

  def decode(text) do
    {value, ""} = text |> skip() |> value()
    value
  end

  defp value("null" <> rest), do: {nil, skip(rest)}
  defp value("true" <> rest), do: {true, skip(rest)}
  defp value("false" <> rest), do: {false, skip(rest)}
  defp value(<<?", rest::binary>>), do: string(rest, [])
  defp value(<<?[, rest::binary>>), do: elements(skip(rest), [])
  defp value(<<?{, rest::binary>>), do: pairs(skip(rest), %{})

  defp value(text) do
    [number] = Regex.run(~r/^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/, text)
    rest = binary_part(text, byte_size(number), byte_size(text) - byte_size(number))
    {if(number =~ ~r/[.eE]/, do: elem(Float.parse(number), 0), else: String.to_integer(number)), skip(rest)}
  end

  defp elements("]" <> rest, acc), do: {Enum.reverse(acc), skip(rest)}
  defp elements("," <> rest, acc), do: elements(skip(rest), acc)

  defp elements(text, acc) do
    {value, rest} = value(text)
    elements(rest, [value | acc])
  end

  defp pairs("}" <> rest, acc), do: {acc, skip(rest)}
  defp pairs("," <> rest, acc), do: pairs(skip(rest), acc)

  defp pairs(text, acc) do
    {key, ":" <> rest} = value(text)
    {value, rest} = rest |> skip() |> value()
    pairs(rest, Map.put(acc, key, value))
  end

  defp string(<<?", rest::binary>>, acc), do: {acc |> Enum.reverse() |> IO.iodata_to_binary(), skip(rest)}

  defp string(<<"\\u", a::binary-4, "\\u", b::binary-4, rest::binary>>, acc) when a >= "d800" and a < "dc00" do
    string(rest, [<<0x10000 + (hex(a) - 0xD800) * 0x400 + hex(b) - 0xDC00::utf8>> | acc])
  end

  defp string(<<"\\u", a::binary-4, rest::binary>>, acc), do: string(rest, [<<hex(a)::utf8>> | acc])

  defp string(<<"\\", c, rest::binary>>, acc) do
    string(rest, [Map.get(%{?n => "\n", ?r => "\r", ?t => "\t", ?b => "\b", ?f => "\f"}, c, <<c>>) | acc])
  end

  defp string(<<c::utf8, rest::binary>>, acc), do: string(rest, [<<c::utf8>> | acc])

  defp hex(text), do: String.to_integer(text, 16)

  defp skip(<<c, rest::binary>>) when c in ~c" \n\r\t", do: skip(rest)
  defp skip(text), do: text
end
