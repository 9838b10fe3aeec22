%% Workers as users write them.
-module(snakemux_spec_tests).
-include_lib("eunit/include/eunit.hrl").
-export([log/2]).

one(Spec) -> [Worker] = snakemux_spec:workers([Spec], 1024), Worker.

python_test() ->
    #{id := <<"py">>, index := 0, kind := python, argv := Argv, path := [Path]} =
        one({python, [{module, "pkg:name"}, {python, <<"/opt/python">>}, {threads, 3}, {path, "lib"}, {args, ["--x"]}]}),
    ?assertEqual(["/opt/python", "-u", "-m", "snakemux", "pkg:name", "--address", "{address}", "--threads=3", "--x"], Argv),
    ?assertEqual(filename:absname("lib"), Path).

max_message_test() ->
    Told = fun(Spec) -> proplists:get_all_values("SNAKEMUX_MAX_MESSAGE", snakemux_spec:env(one(Spec), #{})) end,
    ?assertEqual(["1024"], Told({python, #{module => "m"}})),
    ?assertEqual(["1024"], Told({exec, ["w", "{port}"]})),
    ?assertEqual(["7"], Told({exec, ["w", "{port}"], #{env => #{"SNAKEMUX_MAX_MESSAGE" => "7"}}})),
    ?assert(lists:member("--max-message=1024", maps:get(argv, one({legacy, #{argv => ["w"]}})))).

interpreter_test_() ->
    Names = ["SNAKEMUX_PYTHON", "VIRTUAL_ENV"],
    Chosen = fun() -> #{argv := [Python | _]} = one({python, #{module => "m"}}), Python end,
    {setup,
        fun() -> [{Name, os:getenv(Name)} || Name <- Names] end,
        fun(Before) -> [case V of false -> os:unsetenv(Name); _ -> os:putenv(Name, V) end || {Name, V} <- Before] end,
        fun() ->
            [os:putenv(Name, Name) || Name <- Names],
            ?assertEqual("SNAKEMUX_PYTHON", Chosen()),
            os:putenv("SNAKEMUX_PYTHON", ""),
            ?assertEqual("VIRTUAL_ENV/bin/python", Chosen()),
            os:unsetenv("VIRTUAL_ENV"),
            ?assertEqual("python3", Chosen())
        end}.

numbered_test() ->
    Workers = snakemux_spec:workers([{exec, ["run", "{port}"], #{id => "e", count => 3, start_concurrency => 2}}], 1024),
    ?assertEqual([{<<"e-0">>, 0}, {<<"e-1">>, 1}, {<<"e-2">>, 2}], [{Id, Index} || #{id := Id, index := Index} <- Workers]),
    ?assertEqual([none, none, <<"e-0">>], [maps:get(behind, W, none) || W <- Workers]).

attach_test() ->
    #{kind := attach, target := <<"ipv4:10.0.0.5:50051">>, connect := Connect} =
        one({attach, "ipv4:10.0.0.5:50051", [{max_concurrent, 8}, {commands, ["a", <<"b">>]}, {authority, "x"}, {ca_file, "/ca"}]}),
    ?assertEqual(#{max_concurrent => 8, commands => [<<"a">>, <<"b">>], authority => <<"x">>, ca_file => <<"/ca">>}, Connect).

%% One warning for what goes over a network in the clear, none for anything else.
warning_test() ->
    Test = self(),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => Test, level => warning}),
    try
        one({attach, "ipv4:10.0.0.5:50051"}),
        receive {logged, Text} -> ?assertNotEqual(nomatch, string:find(Text, "ipv4:10.0.0.5:50051 is attached without TLS")) after 1000 -> error(no_warning) end,
        [one({attach, Target}) || Target <- ["unix:/a/b", "unix-abstract:x", "ipv4:127.0.0.1:1", "ipv6:[::1]:1", "dns:localhost:1"]],
        one({attach, "ipv4:10.0.0.5:50051", #{ca_file => "/ca"}}),
        receive {logged, More} -> error({one_too_many, More}) after 0 -> ok end
    after
        ok = logger:remove_handler(?MODULE)
    end.

%% @private
log(#{msg := {Format, Args}}, #{config := Test}) -> Test ! {logged, lists:flatten(io_lib:format(Format, Args))}.

filled_in_test() ->
    Values = #{"{port}" => "1", "{address}" => "unix:/a", "{index}" => "0", "{id}" => "py"},
    Worker = one({exec, ["w", "--port={port}", "{port}{port}", "{index} {id}"], #{env => #{"A" => "{address}", "B" => <<>>}}}),
    ?assertEqual(["w", "--port=1", "11", "0 py"], snakemux_spec:argv(Worker, Values)),
    ?assertEqual([{"A", "unix:/a"}, {"B", ""}, {"SNAKEMUX_MAX_MESSAGE", "1024"}], lists:sort(snakemux_spec:env(Worker, Values))).

python_path_test() ->
    Path = fun(Options) ->
        Worker = one({python, Options#{module => "m", path => ["/a", "/b"]}}),
        string:lexemes(proplists:get_value("PYTHONPATH", snakemux_spec:env(Worker, #{})), ":")
    end,
    Before = os:getenv("PYTHONPATH"),
    os:putenv("PYTHONPATH", "/inherited"),
    try
        ?assertMatch(["/a", "/b", "/inherited", _], Path(#{})),
        ?assertMatch(["/a", "/b", _], Path(#{env_inherit => none})),
        ?assertMatch(["/a", "/b", "/own", _], Path(#{env => [{"PYTHONPATH", "/own"}]})),
        ?assert(lists:suffix("priv/python", lists:last(Path(#{}))))
    after
        case Before of false -> os:unsetenv("PYTHONPATH"); _ -> os:putenv("PYTHONPATH", Before) end
    end.

legacy_test() ->
    #{id := <<"legacy">>, kind := legacy, stuck_grace := 500, argv := Argv} =
        one({legacy, #{argv => ["python3", <<"old.py">>], protocol => json, stuck_grace => 500}}),
    ?assertEqual(
        ["/proc/self/exe", "wrap", "--address", "{address}", "--protocol=json", "--stuck-grace=500", "--max-message=1024", "--", "python3", "old.py"],
        Argv
    ).

wrong_test_() ->
    [{lists:flatten(io_lib:format("~p", [Spec])), ?_assertError(badarg, one(Spec))} || Spec <- [
        x, {python}, {python, 1}, {python, #{}}, {python, #{module => ""}}, {python, #{module => 1}},
        {python, #{module => "m", count => 0}}, {python, #{module => "m", env => [1]}}, {python, #{module => "m", path => 1}},
        {python, #{module => "m", env_inherit => some}}, {python, #{module => "m", stuck_grace => 0}},
        {exec, []}, {exec, "text"}, {exec, ["no place to listen"]}, {exec, ["{port}"], #{threads => 1}},
        {attach, ""}, {attach, "http://x"}, {attach, "unix:/x", #{cd => "/"}}, {attach, "unix:/x", #{keepalive => 0}},
        %% No text, or text that the operating system would cut.
        {python, #{module => <<255>>}}, {python, #{module => <<"a", 0, "b">>}}, {exec, [<<"a", 0>>, "{port}"]},
        {attach, "unix:/x", #{id => <<255>>}}, {python, #{module => "m", env => #{"A=B" => "c"}}},
        %% Lists that are none.
        {exec, ["{port}" | x]}, {attach, "unix:/x", #{commands => ["a" | b]}}, {python, #{module => "m", args => ["a" | b]}}
    ]].
