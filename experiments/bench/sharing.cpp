// What several adapters in one packed batch gain over one after another: what a sweep could share.
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include "experiments/bench/harness.h"
#include "models/decoder/packed_tokens.h"

namespace leash::bench {
namespace {

// `sequences` of `length` rows for each adapter.
PackedTokens packed_part(int64_t adapters, int64_t sequences, int64_t length) {
  return pack(random_ids(adapters * sequences, length));
}

void pass(const Decoder& decoder, const PackedTokens& tokens, const AdapterRows& rows,
          bool trains) {
  const c10::AutoGradMode gradients(trains);
  const at::Tensor hidden = decoder.forward(tokens, rows);
  const at::Tensor scores =
      decoder.token_scores(hidden, tokens.ids, /*temperature=*/1.0, rows).logprobs;
  if (trains) torch::autograd::backward({scores.sum()}, {});
}

// Seconds of one after another divided by seconds of all together, taken in turn.
double gain(const Options& options, int64_t count, int64_t sequences, int64_t length, bool trains) {
  const auto decoder = load_decoder(options);
  std::vector<Adapter> adapters;
  for (int64_t i = 0; i < count; ++i) adapters.push_back(bench_adapter(*decoder));
  const PackedTokens one = packed_part(1, sequences, length);
  const PackedTokens all = packed_part(count, sequences, length);
  AdapterRows together;
  for (const Adapter& adapter : adapters) {
    together.ranges.push_back({&adapter, sequences * length});
  }
  std::vector<double> ratios;
  for (int64_t run = 0; run <= options.repeats; ++run) {
    Stopwatch clock;
    for (const Adapter& adapter : adapters) pass(*decoder, one, adapter, trains);
    const double apart = clock.lap();
    pass(*decoder, all, together, trains);
    if (run > 0) ratios.push_back(apart / clock.lap());
  }
  return median(ratios);
}

}  // namespace

// A decoding step of 32 answers (attention over the past left out, which nobody shares), and an
// update's pass over 4 texts of 128 tokens.
std::vector<Row> run_sharing(const Options& options) {
  std::vector<Row> rows;
  for (const int64_t count : {2, 8}) {
    rows.push_back({fmt::format("sharing-{}-decode-32", count), gain(options, count, 32, 1, false),
                    "times as fast"});
    rows.push_back({fmt::format("sharing-{}-update-512", count), gain(options, count, 4, 128, true),
                    "times as fast"});
  }
  return rows;
}

}  // namespace leash::bench
