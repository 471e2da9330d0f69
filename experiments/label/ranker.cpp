#include "experiments/label/ranker.h"

#include <fmt/format.h>

#include <cmath>
#include <iostream>
#include <map>
#include <optional>
#include <vector>

#include "experiments/label/preference_row.h"
#include "models/io/posix_file.h"
#include "models/printable.h"
#include "rl/reward_model/trainer.h"
#include "rl/run/console.h"
#include "rl/run/snapshot_parts.h"

namespace leash::label {
namespace {

namespace fs = std::filesystem;

std::string text_of_rows(const std::vector<Json>& rows) {
  std::string text;
  for (const Json& row : rows)
    text += row.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  return text;
}

// The rows that say a preference.
std::vector<Json> preferences_of(const LabelSession::State& state) {
  std::map<std::string, const LabelPair*> pairs;
  for (const LabelPair& pair : state.pairs) pairs.emplace(pair.id, &pair);
  std::vector<Json> rows;
  for (const Judgement& judgement : state.judgements) {
    if (!judgement.preferred()) continue;
    rows.push_back(*preference_row(*pairs.at(judgement.pair), judgement));
  }
  return rows;
}

// An open pair in the place of a preference, so that it is read and scored as those were.
Json unjudged_row(const LabelPair& pair) {
  return *preference_row(pair, {.user = "nobody",
                                .pair = pair.id,
                                .verdict = Verdict::left,
                                .left = 0,
                                .comment = {},
                                .time = {}});
}

// One training and what it says.
class Round {
 public:
  Round(const RankerOptions& options, int64_t number)
      : setup_(options.recipe), folder_(options.folder / fmt::format("round-{}", number)) {
    setup_.data.train = folder_.string() + ".jsonl";
    setup_.data.eval.reset();
    setup_.data.eval_split = 0;
    setup_.reward.eval_strategy = EvalStrategy::no;
    setup_.reward.load_best_model_at_end = false;
    setup_.run.save_strategy = SaveStrategy::no;
    setup_.run.exports.clear();
  }

  // Nothing when the session stops meanwhile.
  std::optional<Snapshot> train(const std::vector<Json>& preferences, const LabelSession& session) {
    fs::create_directories(folder_.parent_path());
    replace_file(setup_.data.train, text_of_rows(preferences));
    fs::remove_all(folder_);
    RunFolder folder = RunFolder::open(folder_, /*resume=*/false);
    const auto communicator = single_communicator();
    Console silent(-1, /*terminal=*/false);
    RewardTrainer trainer(setup_,
                          {.folder = folder, .communicator = *communicator, .console = silent});
    const RunOutcome outcome = trainer.train([&session] { return session.stopped(); });
    return session.stopped() ? std::nullopt : outcome.last_snapshot;
  }

  std::unordered_map<std::string, double> priorities(const Snapshot& trained,
                                                     const std::vector<LabelPair>& open) const {
    std::vector<Json> rows;
    for (const LabelPair& pair : open) rows.push_back(unjudged_row(pair));
    const fs::path file = folder_.string() + ".open.jsonl";
    replace_file(file, text_of_rows(rows));
    TrainedModel model = load_reward_model(setup_);
    read_adapter_into(trained.path, model.adapter);
    const PreferenceData data =
        read_preferences(file, model.tokenizer, setup_.data, model.decoder->config().max_positions);
    const auto scores = held_out_scores(pair_refs(data.pairs), setup_.reward.micro_batch_tokens,
                                        model.adapted(), *single_communicator());
    std::unordered_map<std::string, double> priorities;
    for (size_t i = 0; i < scores.size(); ++i) {
      const LabelPair& pair = open[static_cast<size_t>(data.pairs[i].line - 1)];
      priorities[pair.id] = -std::abs(scores[i].chosen - scores[i].rejected);
    }
    return priorities;
  }

 private:
  RewardSetup setup_;
  fs::path folder_;
};

void say_ranked(const std::string& text) {
  std::cerr << "leash: " << printable_lines(text) << "\n" << std::flush;
}

}  // namespace

void rank_by_uncertainty(LabelSession& session, const RankerOptions& options) {
  for (int64_t number = 1, judged = 0; session.wait_until_judged(judged + options.every);
       ++number) {
    const LabelSession::State state = session.state();
    judged = session.num_judged();
    Json record = {{"judgements", judged}};
    try {
      Round round(options, number);
      const std::vector<Json> preferences = preferences_of(state);
      const auto trained = round.train(preferences, session);
      if (!trained) return;
      const std::vector<LabelPair> open = session.open_pairs(options.most);
      if (!open.empty()) session.prioritise(round.priorities(*trained, open));
      record["preferences"] = preferences.size();
      record["open_pairs"] = open.size();
      say_ranked(
          fmt::format("round {}: {} open pairs in the order of a reward model on {} "
                      "preferences",
                      number, open.size(), preferences.size()));
    } catch (const std::exception& error) {
      record["failure"] = error.what();
      say_ranked(fmt::format("round {}: the order stays: {}", number, error.what()));
    }
    const fs::path file = options.folder / fmt::format("round-{}.ranked.json", number);
    replace_file(file, record.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
}

}  // namespace leash::label
