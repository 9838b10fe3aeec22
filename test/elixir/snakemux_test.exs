defmodule SnakemuxTest do
  use Snakemux.Case, async: true
  doctest Snakemux
  doctest Snakemux.Error

  alias Snakemux.Error

  setup_all do
    name = :mux_of_snakemux_test
    start_supervised!({Snakemux, name: name, workers: [python(count: 2)]})
    :ok = Snakemux.await_ready(name, timeout: 30_000)
    %{mux: name}
  end

  describe "execute" do
    test "returns the result", %{mux: mux} do
      assert Snakemux.execute(mux, "add", %{a: 1, b: 2}) == {:ok, %{"sum" => 3}}
      assert Snakemux.execute!(mux, "shout", %{"text" => "größer"}) == "GRÖSSER"
    end

    test "values come back as they went", %{mux: mux} do
      args = %{
        "int" => 18_446_744_073_709_551_615,
        "negative" => -9_223_372_036_854_775_808,
        "float" => 0.1,
        "text" => "snake \0 é 🐍",
        "list" => [1, 2, 3],
        "long list" => [1, 2, 300],
        "empty" => [],
        "map" => %{"a" => %{"b" => []}},
        "true" => true,
        "nil" => nil
      }

      assert Snakemux.execute!(mux, "give_back", args) == args
    end

    test "null is nil", %{mux: mux} do
      assert Snakemux.execute!(mux, "nothing") == nil
      assert Snakemux.execute!(mux, "give_back", %{x: [nil, :null]}) == %{"x" => [nil, nil]}
    end

    test "an exception of the worker is an error with its type, text and traceback", %{mux: mux} do
      assert {:error, %Error{} = error} = Snakemux.execute(mux, "fail", %{text: "shape (3,) does not fit"})
      assert %{code: :unknown, origin: :worker, sent: true, command: "fail", worker: worker} = error
      assert %{"type" => "ValueError", "traceback" => traceback} = error.details
      assert traceback =~ "ex_workers.py"

      assert Exception.message(error) ==
               "fail on #{worker}: unknown (ValueError): shape (3,) does not fit [worker, sent]"

      assert_raise Error, ~r/^fail on py-[01]: unknown \(ValueError\): no/, fn ->
        Snakemux.execute!(mux, "fail", %{text: "no"})
      end
    end

    test "a worker chooses the code and the details", %{mux: mux} do
      assert {:error, %Error{code: :not_found, message: "no model m1", details: details}} =
               Snakemux.execute(mux, "refuse", %{model: "m1"})

      assert details["details"] == %{"known" => ["a", "b"]}
    end

    test "a value that cannot travel is named by its path and never sent", %{mux: mux} do
      assert {:error, %Error{code: :invalid_argument, sent: false, message: message}} =
               Snakemux.execute(mux, "give_back", %{items: [1, {:a, :tuple}]})

      assert message =~ "items[1]"
    end

    test "an unknown command lists what there is", %{mux: mux} do
      assert {:error, %Error{code: :unimplemented}} = Snakemux.execute(mux, "no_such_command")
    end

    test "the timeout ends the call here and at the worker", %{mux: mux} do
      assert {:error, %Error{code: :deadline_exceeded, command: "block"}} =
               Snakemux.execute(mux, "block", %{}, timeout: 200)
    end

    test "goes to the worker that is asked for", %{mux: mux} do
      for id <- ["py-0", "py-1"] do
        pids = for _ <- 1..3, do: Snakemux.execute!(mux, "whoami", %{}, worker: id)["pid"]
        assert [_] = Enum.uniq(pids)
      end

      refute Snakemux.execute!(mux, "whoami", %{}, worker: "py-0") ==
               Snakemux.execute!(mux, "whoami", %{}, worker: "py-1")
    end

    test "options may be a map", %{mux: mux} do
      assert Snakemux.execute!(mux, "shout", %{text: "a"}, %{timeout: 5_000, worker: "py-0"}) == "A"
    end

    test "is an error, not an exit, when there is no such instance" do
      assert {:error, %Error{code: :unavailable, sent: false}} = Snakemux.execute(:no_such_mux, "add", %{a: 1, b: 1})
      ref = Snakemux.execute_async(:no_such_mux, "add", %{a: 1, b: 1})
      assert {:error, %Error{code: :unavailable}} = Snakemux.next(ref, 1_000)
    end
  end

  describe "sessions" do
    test "keep their state at one worker until they end", %{mux: mux} do
      for n <- 1..4 do
        assert {:ok, %{"total" => ^n}} = Snakemux.execute_in_session(mux, "s1", "count_up", %{by: 1})
      end

      assert Snakemux.execute!(mux, "count_up", %{by: 10}, session: "s1") == %{"total" => 14}
      assert Snakemux.execute!(mux, "count_up", %{by: 10}, session: "s2") == %{"total" => 10}

      assert :ok = Snakemux.end_session(mux, "s1")
      assert Snakemux.execute!(mux, "count_up", %{by: 1}, session: "s1") == %{"total" => 1}
    end

    test "streams find its state too", %{mux: mux} do
      assert {:ok, %{"total" => 1}} = Snakemux.execute_in_session(mux, "s3", "count_up", %{by: 1})
      assert [{:ok, %{"total" => 3}}] = Enum.to_list(Snakemux.stream(mux, "count_up", %{by: 2}, session: "s3"))
      assert {:ok, %{"total" => 6}} = Snakemux.execute_in_session(mux, "s3", "count_up", %{by: 3})
    end
  end

  describe "messages" do
    test "a call ends with one", %{mux: mux} do
      ref = Snakemux.execute_async(mux, "add", %{a: 2, b: 3})
      assert_receive {:snakemux, ^ref, {:ok, %{"sum" => 5}}}, 5_000
    end

    test "next takes them, and a timeout leaves the call going", %{mux: mux} do
      ref = Snakemux.execute_async(mux, "block", %{}, timeout: 1_000)
      assert Snakemux.next(ref, 50) == :timeout
      assert {:error, %Error{code: :deadline_exceeded}} = Snakemux.next(ref)
    end

    test "a stream stops at its credit and goes on with more", %{mux: mux} do
      ref = Snakemux.execute_stream(mux, "numbers", %{name: "credit", count: 5}, credit: 2)
      assert {:chunk, %{"n" => 0}} = Snakemux.next(ref, 5_000)
      assert {:chunk, %{"n" => 1}} = Snakemux.next(ref, 5_000)
      assert :passive = Snakemux.next(ref, 5_000)
      assert :timeout = Snakemux.next(ref, 100)
      Snakemux.credit(ref, :infinity)
      assert for(_ <- 1..3, do: Snakemux.next(ref, 5_000)) == for(n <- 2..4, do: {:chunk, %{"n" => n}})
      assert {:done, %{chunks: 5}} = Snakemux.next(ref, 5_000)
    end

    test "cancel ends a call with its last message", %{mux: mux} do
      ref = Snakemux.execute_stream(mux, "numbers", %{name: "cancelled"}, credit: 1)
      assert {:chunk, _} = Snakemux.next(ref, 5_000)
      assert :passive = Snakemux.next(ref, 5_000)
      Snakemux.cancel(ref)
      assert {:error, %Error{code: :cancelled, delivered: 1}} = Snakemux.next(ref, 5_000)
      assert Snakemux.next(ref, 50) == :timeout
      assert [_] = ended(mux, "cancelled")
    end

    test "none comes after abandon", %{mux: mux} do
      ref = Snakemux.execute_stream(mux, "numbers", %{name: "abandoned"})
      assert {:chunk, _} = Snakemux.next(ref, 5_000)
      Snakemux.abandon(ref)
      assert [_] = ended(mux, "abandoned")
      assert mailbox() == []
    end

    test "the error in one becomes an exception by Snakemux.Error", %{mux: mux} do
      ref = Snakemux.execute_async(mux, "fail", %{text: "no"})
      assert_receive {:snakemux, ^ref, {:error, error}}, 5_000
      assert %Error{code: :unknown, message: "no"} = Error.exception(error)
    end
  end

  describe "stream_fold" do
    test "folds all chunks", %{mux: mux} do
      sum = fn %{"n" => n}, acc -> {:cont, acc + n} end
      assert Snakemux.stream_fold(mux, "numbers", %{name: "fold", count: 100}, sum, 0) == {:ok, 4_950}
    end

    test "halts, and the worker stops", %{mux: mux} do
      third = fn chunk, n -> if n == 2, do: {:halt, chunk}, else: {:cont, n + 1} end
      assert Snakemux.stream_fold(mux, "numbers", %{name: "fold halt"}, third, 0) == {:ok, %{"n" => 2}}
      assert [_] = ended(mux, "fold halt")
    end

    test "returns what there was before an error", %{mux: mux} do
      collect = fn %{"n" => n}, acc -> {:cont, [n | acc]} end

      assert {:error, %Error{code: :unknown, delivered: 3}, [2, 1, 0]} =
               Snakemux.stream_fold(mux, "numbers", %{name: "fold error", fail_at: 3}, collect, [])
    end
  end

  describe "workers, calls, stats, health, info" do
    test "tell of the instance", %{mux: mux} do
      assert {:ok, workers} = Snakemux.workers(mux)
      assert ["py-0", "py-1"] = workers |> Enum.map(& &1.id) |> Enum.sort()
      assert Enum.all?(workers, &(&1.state == :ready))

      assert {:ok, %{healthy: true}} = Snakemux.health(mux, "py-0")
      assert {:ok, %{supported_commands: commands}} = Snakemux.info(mux, "py-0")
      assert "shout" in commands
      assert {:error, %Error{code: :not_found}} = Snakemux.health(mux, "no such worker")

      ref = Snakemux.execute_async(mux, "block", %{}, timeout: 5_000)
      assert eventually(fn -> Enum.find(elem(Snakemux.calls(mux), 1), &(&1.command == "block")) end)
      Snakemux.abandon(ref)
      assert {:ok, %{}} = Snakemux.stats(mux)
    end
  end

  # The worker saw the end of the stream, wherever it ran.
  defp ended(mux, name) do
    eventually(fn ->
      Enum.find_value(["py-0", "py-1"], fn id ->
        with [] <- Snakemux.execute!(mux, "ended", %{name: name}, worker: id), do: nil
      end)
    end)
  end
end
