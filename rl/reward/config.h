// All settings of one source of reward (an entry of the list `reward:`).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/families/model_config.h"
#include "models/fields.h"
#include "models/json_setting.h"

namespace leash {

enum class RewardKind { function, model, adapter, command, http };
template <>
struct EnumNames<RewardKind> {
  static constexpr std::pair<RewardKind, std::string_view> values[] = {
      {RewardKind::function, "function"},
      {RewardKind::model, "model"},
      {RewardKind::adapter, "adapter"},
      {RewardKind::command, "command"},
      {RewardKind::http, "http"}};
};

// Where in an answer the part is that counts.
enum class Extract { whole, last, boxed, marker };
template <>
struct EnumNames<Extract> {
  static constexpr std::pair<Extract, std::string_view> values[] = {{Extract::whole, "whole"},
                                                                    {Extract::last, "last"},
                                                                    {Extract::boxed, "boxed"},
                                                                    {Extract::marker, "marker"}};
};

enum class TextUnit { words, tokens, characters };
template <>
struct EnumNames<TextUnit> {
  static constexpr std::pair<TextUnit, std::string_view> values[] = {
      {TextUnit::words, "words"},
      {TextUnit::tokens, "tokens"},
      {TextUnit::characters, "characters"}};
};

enum class Normalize { none, running };
template <>
struct EnumNames<Normalize> {
  static constexpr std::pair<Normalize, std::string_view> values[] = {
      {Normalize::none, "none"}, {Normalize::running, "running"}};
};

enum class CommandMode { per_batch, persistent };
template <>
struct EnumNames<CommandMode> {
  static constexpr std::pair<CommandMode, std::string_view> values[] = {
      {CommandMode::per_batch, "per_batch"}, {CommandMode::persistent, "persistent"}};
};

inline constexpr double kRewardTimeoutSeconds = 600;
inline constexpr int64_t kRewardRestarts = 3;
inline constexpr int64_t kHttpBatch = 16;
inline constexpr int64_t kHttpConcurrency = 4;
inline constexpr int64_t kHttpRetries = 4;

// One source of reward; the scores of all are added up with their weights.
struct RewardConfig {
  RewardKind kind = RewardKind::function;
  double weight = 1.0;
  std::optional<std::string> label;       // in the names of metrics
  std::vector<double> clip;               // [lowest, highest]; empty: not clipped
  Normalize normalize = Normalize::none;  // before clip and weight
  std::optional<ModelPath> path;          // model: the checkpoint; adapter: its folder
  Quantize quantize = Quantize::none;     // model: its weights
  // function: which, its numbers, its words, and what else some of them read.
  std::optional<std::string> name;
  std::map<std::string, double> parameters;
  std::vector<std::string> words;
  std::optional<std::string> column;
  std::optional<Extract> extract;
  std::optional<std::string> marker;
  std::optional<std::string> pattern;
  std::optional<TextUnit> unit;
  JsonObject schema;
  std::map<std::string, double> lexicon;
  std::vector<std::string> scripts;
  bool ignore_case = false;
  std::optional<std::string> command;           // command: what a shell runs
  std::optional<std::filesystem::path> folder;  // command: its working folder
  CommandMode mode = CommandMode::per_batch;
  int64_t max_restarts = kRewardRestarts;  // command, persistent: in a run
  std::optional<std::string> url;          // http
  std::optional<std::string> header_env;   // http: names the variable that holds a header
  std::optional<std::filesystem::path> ca_file;
  int64_t batch_size = kHttpBatch;         // http: answers of a request
  int64_t concurrency = kHttpConcurrency;  // http: requests at a time
  int64_t retries = kHttpRetries;          // http: of one request, after the first try
  bool ids = false;                        // command, http: tokens as well
  double timeout_seconds = kRewardTimeoutSeconds;
};
template <class Config, class Visitor>
requires Describes<Config, RewardConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("kind", c.kind,
        "function (by name), model (a sequence-classification checkpoint) or adapter (what task: "
        "reward trained, read on the shared base), command (a program of your own) or http (an "
        "endpoint); see docs/rewards.md");
  visit("weight", c.weight, "factor of this score in the sum");
  visit("label", c.label,
        "names the metrics rewards/<label>/mean and /std, which are taken before normalize, clip "
        "and weight (null: the function's name, else the kind; equal ones are numbered)");
  visit("clip", c.clip,
        "[lowest, highest]: the score is brought into this range before the weight "
        "(empty: it is not)");
  visit("normalize", c.normalize,
        "running: less the mean and by the standard deviation of all scores of this run so far, "
        "those of the batch included, before clip; held-out figures are of the score itself");
  visit("path", c.path, "model: the checkpoint; adapter: its folder");
  visit("quantize", c.quantize, "model: how its weights are kept in memory, as model.quantize");
  visit("name", c.name, "function: its name, see docs/rewards.md");
  visit("parameters", c.parameters, "function: its numbers by name");
  visit("words", c.words, "function: its list of words");
  visit("column", c.column,
        "function: the column of data.train and data.eval that it compares the answer with, or "
        "takes its pattern, schema, target, words or scripts from (a.b: inside an object)");
  visit("extract", c.extract,
        "function: what of the answer counts: whole, last (its last number), boxed (in the last "
        "\\boxed{}), marker (behind the last marker)");
  visit("marker", c.marker, "function: with extract: marker (null: ####)");
  visit("pattern", c.pattern, "function regex: a regular expression (PCRE2)");
  visit("unit", c.unit, "function: counts words (null), tokens or characters");
  visit("schema", c.schema, "function json_schema: what a JSON answer has to be like");
  visit("lexicon", c.lexicon, "function lexicon: values of words");
  visit("scripts", c.scripts, "function language: Unicode scripts, as [Latin] or [Han, Hiragana]");
  visit("ignore_case", c.ignore_case, "function exact_answer: fold case on both sides");
  visit("command", c.command,
        "command: a shell runs it; it reads a JSON line for each answer, and prints a number per "
        "line");
  visit("folder", c.folder,
        "command: the folder that it runs in (null: that of the recipe, and where --set says the "
        "command the working folder)");
  visit("mode", c.mode,
        "command: per_batch (started for every batch, reads to the end of its input) or persistent "
        "(started once, answers line by line)");
  visit("max_restarts", c.max_restarts,
        "command: how often in a run a persistent program that has ended is started again",
        at_least(0));
  visit("url", c.url, "http: where batches are posted to; redirects are not followed");
  visit("header_env", c.header_env,
        "http: the environment variable that holds a header (\"Authorization: Bearer …\"); its "
        "value is in no file of the run");
  visit("ca_file", c.ca_file,
        "http: PEM certificates that the server's is checked against (null: the system's)");
  visit("batch_size", c.batch_size, "http: answers of one request", at_least(1));
  visit("concurrency", c.concurrency, "http: requests at a time", within(1, 256));
  visit("retries", c.retries,
        "http: how often a request is sent again after it could not be delivered, came back broken "
        "or got 408, 425, 429 or 5xx, after 0.5, 1, 2, … 30 seconds or what Retry-After says",
        within(0, 100));
  visit("ids", c.ids, "command, http: prompt_ids and answer_ids (the policy's tokens) as well");
  visit("timeout_seconds", c.timeout_seconds,
        "command: a batch that takes longer ends the run, and the program with all that it "
        "started; http: of one try of a request",
        above(0));
}

}  // namespace leash
