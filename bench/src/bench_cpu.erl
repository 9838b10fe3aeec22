%% CPU time and memory of processes, from /proc. Knows no contestant.
-module(bench_cpu).

-export([seconds/1, memory/1, children/1]).

%% @doc User and system time of all threads. The kernel keeps it exactly and tells it in hundredths of a second.
-spec seconds(integer() | string()) -> float().
seconds(Pid) ->
    Fields = stat_fields(Pid),
    (list_to_integer(lists:nth(12, Fields)) + list_to_integer(lists:nth(13, Fields))) / 100.

%% Behind the name in parentheses, which may hold spaces.
stat_fields(Pid) ->
    {ok, Stat} = file:read_file(path(Pid, "stat")),
    [_, Rest] = string:split(Stat, ") ", trailing),
    string:lexemes(binary_to_list(Rest), " ").

%% @doc Resident bytes.
-spec memory(integer() | string()) -> non_neg_integer().
memory(Pid) ->
    {ok, Statm} = file:read_file(path(Pid, "statm")),
    [_, Resident | _] = binary:split(Statm, <<" ">>, [global]),
    binary_to_integer(Resident) * 4096.

%% @doc The processes whose parent it is.
-spec children(pos_integer()) -> [pos_integer()].
children(Parent) ->
    {ok, Names} = file:list_dir("/proc"),
    [list_to_integer(Name) || [First | _] = Name <- Names, First >= $0, First =< $9, parent(Name) =:= Parent].

parent(Name) ->
    try list_to_integer(lists:nth(2, stat_fields(Name)))
    catch error:_ -> none %% it has ended meanwhile
    end.

path(Pid, Name) ->
    lists:flatten(io_lib:format("/proc/~s/~s", [text(Pid), Name])).

text(Pid) when is_integer(Pid) -> integer_to_list(Pid);
text(Pid) -> Pid.
