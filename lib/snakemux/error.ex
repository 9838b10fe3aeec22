defmodule Snakemux.Error do
  @moduledoc """
  Why a call failed, as a value in `{:error, error}` and as an exception from the functions with a `!`.

    * `:code` - the gRPC status as an atom: `:invalid_argument`, `:deadline_exceeded`, `:unavailable`, `:unknown`, …
    * `:message` - the text of whoever said no, without the decoration that `Exception.message/1` adds
    * `:origin` - `:worker` (it answered, and said no), `:transport` (no answer came) or `:mux` (refused on this side)
    * `:reason` - an atom to match on: `:application`, `:queue_full`, `:no_worker`, `:worker_down`, `:session_lost`,
      `:port_down`, `:deadline`, `:cancelled`, `:encode`, `:decode`, `:too_large`, …
    * `:sent` - `false`: the call provably never reached a handler and is safe to repeat
    * `:worker`, `:command`, `:request_id` - which call it was, `nil` where that isn't known
    * `:details` - a map with what else is known: of a Python worker `"type"` and `"traceback"` of its exception, and
      `"details"` that its handler chose
    * `:delivered` - of a stream, how many chunks came before the error, else `nil`

  ## Examples

      iex> error = %Snakemux.Error{code: :unknown, message: "shape (3,) does not fit", origin: :worker,
      ...>   reason: :application, sent: true, command: "predict", worker: "py-2", details: %{"type" => "ValueError"}}
      iex> Exception.message(error)
      "predict on py-2: unknown (ValueError): shape (3,) does not fit [worker, sent]"

      iex> Exception.message(%Snakemux.Error{code: :resource_exhausted, message: "1000 calls are waiting",
      ...>   origin: :mux, reason: :queue_full, sent: false, command: "predict"})
      "predict: resource_exhausted (queue_full): 1000 calls are waiting [mux, not sent]"
  """

  @typedoc "The name of a gRPC status."
  @type code ::
          :cancelled
          | :unknown
          | :invalid_argument
          | :deadline_exceeded
          | :not_found
          | :already_exists
          | :permission_denied
          | :resource_exhausted
          | :failed_precondition
          | :aborted
          | :out_of_range
          | :unimplemented
          | :internal
          | :unavailable
          | :data_loss
          | :unauthenticated

  @type t :: %__MODULE__{
          code: code(),
          message: String.t(),
          origin: :worker | :transport | :mux,
          reason: atom(),
          sent: boolean(),
          worker: String.t() | nil,
          command: String.t() | nil,
          request_id: String.t() | nil,
          details: map(),
          delivered: non_neg_integer() | nil
        }

  defexception [
    :worker,
    :command,
    :request_id,
    :delivered,
    code: :unknown,
    message: "",
    origin: :mux,
    reason: nil,
    sent: false,
    details: %{}
  ]

  @doc """
  Makes the exception from the map (or keyword list) that the Erlang API and raw messages have.

      iex> Snakemux.Error.exception(%{code: :not_found, message: "no such model", origin: :worker, sent: true})
      %Snakemux.Error{code: :not_found, message: "no such model", origin: :worker, sent: true}
  """
  @impl true
  def exception(%__MODULE__{} = error), do: error
  def exception(fields), do: struct(__MODULE__, fields)

  @impl true
  def message(%__MODULE__{} = error) do
    subject = [error.command, error.worker] |> Enum.reject(&is_nil/1) |> Enum.join(" on ")
    kind = if kind = kind(error), do: "#{error.code} (#{kind})", else: "#{error.code}"
    sent = if error.sent, do: "sent", else: "not sent"
    delivered = if error.delivered, do: ", after #{error.delivered} chunks", else: ""

    Enum.join(for(part <- [subject, kind, error.message], part != "", do: part), ": ") <>
      " [#{error.origin}, #{sent}#{delivered}]"
  end

  # The worker's own name for it says most. Reasons that only repeat the code or the origin say nothing.
  defp kind(%{details: %{"type" => type}}) when is_binary(type), do: type
  defp kind(%{reason: reason}) when reason in [nil, :application, :deadline, :cancelled], do: nil
  defp kind(%{reason: reason, code: reason}), do: nil
  defp kind(%{reason: reason}), do: reason
end
