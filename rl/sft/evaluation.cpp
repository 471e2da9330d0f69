#include "rl/sft/evaluation.h"

#include <fmt/format.h>

#include <cmath>

#include "models/errors.h"
#include "models/lora/peft_adapter.h"
#include "rl/run/snapshot_parts.h"
#include "rl/sft/trainer.h"

namespace leash {

TaskEvaluation evaluate_run(const SftSetup& setup, const std::optional<Snapshot>& snapshot) {
  SftModel model = load_sft_model(setup);
  if (snapshot) read_adapter_into(snapshot->path, model.adapter);
  const SftDataSets data = read_data_for(setup, model);
  if (data.eval.samples.empty()) throw ConfigError(kNothingHeldOut);
  const SftSums sums = held_out_sums(sample_refs(data.eval.samples), setup.sft.micro_batch_tokens,
                                     model.adapted(), *single_communicator());
  const double loss = sums.nll / static_cast<double>(sums.tokens);
  const double accuracy = static_cast<double>(sums.correct) / static_cast<double>(sums.tokens);
  return {.text = fmt::format("held-out data: {}\nloss {:.4f} nats per token, perplexity {:.3f}, "
                              "token accuracy {:.4f}\n",
                              data.eval.counts.text(), loss, std::exp(loss), accuracy),
          .lines = {{{"loss", loss},
                     {"perplexity", std::exp(loss)},
                     {"mean_token_accuracy", accuracy},
                     {"tokens", sums.tokens},
                     {"samples", data.eval.samples.size()}}}};
}

}  // namespace leash
