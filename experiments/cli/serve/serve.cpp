// leash serve: a model and adapters on it, for OpenAI's clients.
#include <fmt/format.h>

#include <cstdlib>
#include <iostream>

#include "experiments/cli/chat_options.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/load_model.h"
#include "experiments/cli/options.h"
#include "experiments/cli/sampling_defaults.h"
#include "experiments/cli/serve/api.h"
#include "models/errors.h"
#include "models/grouped_digits.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

constexpr const char* kKeyVariable = "LEASH_API_KEY";

constexpr CommandHelp kServeHelp{
    "serve", "--model MODEL [--adapter NAME=DIR]… [options]",
    "Answers OpenAI's clients at http://HOST:PORT/v1: /v1/models, /v1/completions (with `echo` "
    "and\n"
    "log-probs of prompts), /v1/chat/completions; also /health and /metrics. The base and each "
    "adapter\n"
    "are models by name; their answers decode together. Where the environment has LEASH_API_KEY, "
    "a\n"
    "client has to show it (Authorization: Bearer KEY); a --host that others reach needs one.",
    "  leash serve --model smollm2 --adapter warm=runs/a/adapter\n"
    "  curl localhost:8080/v1/completions -d '{\"model\": \"warm\", \"prompt\": \"Hello\"}'\n"
    "  LEASH_API_KEY=… leash serve --model smollm2 --host 0.0.0.0"};

po::options_description serve_options() {
  po::options_description options("Options");
  add_model_options(options);
  add_chat_options(options);
  add_fast_option(options);
  auto add = options.add_options();
  add("adapter", po::value<std::vector<std::string>>()->value_name("NAME=DIR")->composing(),
      "a LoRA adapter in PEFT's format, and what it is called (repeatable)");
  add_other_base_option(options);
  const auto number = [](const char* name, int64_t value) {
    return po::value<int64_t>()->value_name(name)->default_value(value);
  };
  add("name", po::value<std::string>()->value_name("NAME"),
      "what the base is called (default: what --model says, of a path the last part)");
  add("host", po::value<std::string>()->value_name("HOST")->default_value("127.0.0.1"),
      "address to listen at; any but this machine's own needs LEASH_API_KEY");
  add("port", number("N", 8080), "port to listen at (0: one that is free)");
  add("slots", number("N", 32), "answers that decode together");
  add("context", po::value<int64_t>()->value_name("N"),
      "tokens of a prompt and its answer (default: the model's context, at most 2048)");
  add("queue", number("N", 256), "answers that wait for a slot; more are told to come again (429)");
  add("prefill-tokens", number("N", 256), "tokens of prompts that are read between two steps");
  add("max-body", number("BYTES", int64_t{8} << 20), "largest body of a request");
  add("max-connections", number("N", 256), "open connections");
  add("max-seconds", number("S", 600), "time of an answer");
  return options;
}

int64_t bounded(const po::variables_map& values, const char* name, int64_t least, int64_t most,
                OptionProblems& problems) {
  const auto value = values[name].as<int64_t>();
  problems.require(value >= least && value <= most,
                   fmt::format("--{} must be {} to {}, not {}", name, least, most, value));
  return value;
}

bool loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

HttpConfig http_config(const po::variables_map& values, OptionProblems& problems) {
  HttpConfig config;
  config.host = values["host"].as<std::string>();
  config.port = static_cast<int>(bounded(values, "port", 0, 65535, problems));
  config.max_body =
      static_cast<size_t>(bounded(values, "max-body", 1024, int64_t{1} << 30, problems));
  config.max_connections =
      static_cast<size_t>(bounded(values, "max-connections", 1, 100'000, problems));
  config.answering_time = std::chrono::seconds(bounded(values, "max-seconds", 1, 86'400, problems));
  if (const char* key = std::getenv(kKeyVariable)) config.key = key;
  problems.require(loopback(config.host) || !config.key.empty(),
                   fmt::format("--host {} can be reached by others: set {} to a key that they need",
                               config.host, kKeyVariable));
  return config;
}

ServingConfig serving_config(const po::variables_map& values, OptionProblems& problems) {
  ServingConfig config;
  config.max_batch = bounded(values, "slots", 1, 4096, problems);
  config.max_waiting = bounded(values, "queue", kMostAnswers, 1'000'000, problems);
  config.prefill_tokens = bounded(values, "prefill-tokens", 1, 1'000'000, problems);
  if (values.count("context") != 0) {
    config.context = bounded(values, "context", 2, 1'000'000'000, problems);
  }
  return config;
}

int64_t context_of(const po::variables_map& values, const ServingConfig& asked,
                   const DecoderConfig& model) {
  if (values.count("context") != 0 && asked.context > model.max_positions) {
    throw ConfigError(fmt::format("--context must be at most the model's context of {}, not {}",
                                  model.max_positions, asked.context));
  }
  return std::min(asked.context, model.max_positions);
}

void greet(const HttpServer& server, const HttpConfig& http, const ServedModels& models,
           const SamplingConfig& defaults) {
  std::string names;
  for (const ServedModel& model : models.all()) {
    names += (names.empty() ? "" : ", ") + model.name;
  }
  const bool six = http.host.find(':') != std::string::npos;
  std::cerr << fmt::format("serving {} at http://{}:{}/v1 ({}; {})\n", names,
                           six ? "[" + http.host + "]" : http.host, server.port(),
                           sampling_text(defaults),
                           http.key.empty() ? "no key is needed" : "with the key of LEASH_API_KEY")
            << std::flush;
}

}  // namespace

int serve(const Arguments& args) {
  const auto values = parse_options(kServeHelp, serve_options(), {}, args);
  if (!values) return 0;
  OptionProblems problems;
  const HttpConfig http = http_config(*values, problems);
  ServingConfig config = serving_config(*values, problems);
  problems.check();
  const LoadedModel base = load_model(*values);
  config.context = context_of(*values, config, base.config());
  const auto adapters = given<std::vector<std::string>>(*values, "adapter");
  const auto name = given<std::string>(*values, "name");
  const ServedModels models(base, name ? *name : served_name((*values)["model"].as<std::string>()),
                            adapters.value_or(std::vector<std::string>{}));
  const SamplingConfig defaults = sampling_defaults(base.checkpoint, SamplingConfig{});
  ServingEngine engine(base.decoder, base.tokenizer, config);
  ServingApi api(base, models, engine, defaults, http.answering_time);
  HttpServer* running = nullptr;
  HttpServer server(http, api.routes([&running] { return running->connections(); }));
  running = &server;
  greet(server, http, models, defaults);
  server.run();
  return 0;
}

}  // namespace leash::cli
