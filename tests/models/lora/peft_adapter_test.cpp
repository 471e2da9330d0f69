// PEFT's folders: what PEFT wrote is read and written again byte for byte; what would give wrong
// numbers is refused.
#include "models/lora/peft_adapter.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "models/errors.h"
#include "models/io/safetensors.h"
#include "tests/support/files.h"
#include "tests/support/heard_notices.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::read_text;
using testing::repository;
using testing::same_bits;
using testing::ScratchFolder;
using testing::write_text;

std::filesystem::path golden_peft(const std::string& name) {
  return repository("tests/golden/peft") / name;
}

const json& matching() {
  static const json parsed = json::parse(read_text(golden_peft("matching.json")));
  return parsed;
}

std::vector<ModuleInfo> modules_of(const std::string& model) {
  std::vector<ModuleInfo> modules;
  for (const json& entry : matching()[model]["modules"]) {
    const std::string kind = entry["kind"];
    modules.push_back({entry["path"],
                       kind == "linear"      ? ModuleKind::linear
                       : kind == "embedding" ? ModuleKind::embedding
                                             : ModuleKind::norm,
                       entry["in"], entry["out"], entry["bias"],
                       entry["path"] == "lm_head" ? ModuleRole::lm_head
                       : entry["path"] == "score" ? ModuleRole::score
                                                  : ModuleRole::other});
  }
  return modules;
}

// An adapter of the right shapes, all zero.
Adapter zero_adapter(const LoraConfig& config, const std::vector<ModuleInfo>& modules) {
  const LoraMatches matches = match_modules(config, modules, Unmatched::ignore);
  Adapter adapter(config, modules);
  for (const LoraTarget& target : matches.targets) {
    const ModuleInfo& info = modules[static_cast<size_t>(target.module)];
    adapter.set_lora(target.module, {trainable_leaf(at::zeros({target.r, info.in_features})),
                                     trainable_leaf(at::zeros({info.out_features, target.r})),
                                     lora_scaling(config, target)});
  }
  for (const int64_t i : matches.weight_copies) {
    adapter.set_weight_copy(
        i, trainable_leaf(at::zeros(weight_shape(modules[static_cast<size_t>(i)]))));
  }
  for (const int64_t i : matches.bias_copies) {
    adapter.set_bias_copy(i,
                          trainable_leaf(at::zeros(bias_shape(modules[static_cast<size_t>(i)]))));
  }
  return adapter;
}

void expect_case(const json& expected, const std::vector<ModuleInfo>& modules) {
  const LoraConfig config = parse_adapter_config(expected["config"].dump(), "case");
  if (expected.contains("error")) {
    EXPECT_THROW(match_modules(config, modules, Unmatched::ignore), ConfigError);
    return;
  }
  const Adapter adapter = zero_adapter(config, modules);
  json targets = json::array();
  json saved = json::array();
  for (size_t i = 0; i < modules.size(); ++i) {
    const auto module = static_cast<int64_t>(i);
    if (const LoraWeights* lora = adapter.lora(module)) {
      targets.push_back({modules[i].path, lora->a.size(0), lora->scaling});
    }
    if (adapter.weight_copy(module) != nullptr) saved.push_back(modules[i].path);
  }
  EXPECT_EQ(targets, expected["targets"]);
  EXPECT_EQ(saved, expected["saved"]);
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (const auto& [name, tensor] : adapter.named_tensors()) {
    tensors.emplace_back(name, tensor.sizes().vec());
  }
  std::ranges::sort(tensors);
  json stored = expected["tensors"];
  // The base's weight of an adapted lm_head, which PEFT adds when it saves.
  std::erase_if(stored.get_ref<json::array_t&>(), [](const json& entry) {
    return entry[0].get<std::string>().ends_with(".base_layer.weight");
  });
  EXPECT_EQ(json(tensors), stored);
  EXPECT_EQ(trainable_parameters_line(adapter, expected["base_parameters"]), expected["line"]);
}

TEST(GoldenPeft, AddressesWhatPeftAddresses) {
  int cases = 0;
  for (const std::string model : {"causal_lm", "seq_cls"}) {
    const auto modules = modules_of(model);
    for (const json& expected : matching()[model]["cases"]) {
      SCOPED_TRACE(expected["name"].get<std::string>());
      expect_case(expected, modules);
      ++cases;
    }
  }
  EXPECT_EQ(cases, 29);
}

class GoldenPeftFolder : public ::testing::TestWithParam<const char*> {
 protected:
  std::vector<ModuleInfo> modules() const {
    return modules_of(std::string(GetParam()) == "seq_cls" ? "seq_cls" : "causal_lm");
  }
};

TEST_P(GoldenPeftFolder, IsReadAndWrittenAgainByteForByte) {
  const Adapter adapter = load_adapter(golden_peft(GetParam()), modules());
  const ScratchFolder scratch;
  save_adapter(scratch / "a/b", adapter, "tiny-llama");
  for (const char* file : {"adapter_config.json", "adapter_model.safetensors"}) {
    EXPECT_EQ(read_text(scratch / "a/b" / file), read_text(golden_peft(GetParam()) / file)) << file;
  }
}

TEST_P(GoldenPeftFolder, HoldsTheFilesTensorsAsLeaves) {
  const Adapter adapter = load_adapter(golden_peft(GetParam()), modules());
  const auto file = read_safetensors(golden_peft(GetParam()) / "adapter_model.safetensors");
  EXPECT_EQ(adapter.named_tensors().size(), file.size());
  for (const auto& [name, tensor] : adapter.named_tensors()) {
    const auto found = std::ranges::find(file, name, &NamedTensors::value_type::first);
    ASSERT_NE(found, file.end()) << name;
    EXPECT_TRUE(same_bits(tensor, found->second)) << name;
    EXPECT_TRUE(tensor.is_leaf());
    EXPECT_EQ(tensor.requires_grad(), !name.ends_with(".base_layer.weight"));
  }
}

INSTANTIATE_TEST_SUITE_P(, GoldenPeftFolder,
                         ::testing::Values("plain", "saved", "biases", "seq_cls", "head"),
                         [](const auto& info) { return std::string(info.param); });

TEST(GoldenPeft, TheBaseOfAnAdaptedHeadStaysFrozen) {
  const auto modules = modules_of("causal_lm");
  Adapter adapter = load_adapter(golden_peft("head"), modules);
  adapter.set_trainable(true);
  EXPECT_EQ(adapter.parameters().size(), 2u);
  EXPECT_NE(adapter.weight_copy(static_cast<int64_t>(modules.size()) - 1), nullptr);
  EXPECT_EQ(trainable_parameters_line(adapter, 1000),
            "trainable params: 144 || all params: 1,144 || trainable%: 12.5874");
}

TEST(GoldenPeft, FieldsAreUnderstood) {
  const LoraConfig config = read_adapter_config(golden_peft("saved"));
  EXPECT_EQ(config.r, 2);
  EXPECT_EQ(config.lora_alpha, 5.5);
  EXPECT_TRUE(config.use_rslora);
  EXPECT_EQ(std::get<std::string>(config.target_modules), R"(.*\.(q|v|down)_proj)");
  EXPECT_EQ(config.modules_to_save, std::vector<std::string>{"lm_head"});
  EXPECT_EQ(config.rank_pattern.at("down_proj"), 1);
  EXPECT_EQ(config.alpha_pattern.at("q_proj"), 1.5);
  EXPECT_EQ(config.init_lora_weights, LoraInit::gaussian);
  EXPECT_EQ(read_adapter_config(golden_peft("biases")).layers_to_transform,
            (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(read_adapter_config(golden_peft("plain")).lora_dropout, 0.05);
}

TEST(GoldenPeft, HalfPrecisionIsReadAsFloat) {
  const ScratchFolder scratch;
  std::filesystem::copy_file(golden_peft("plain/adapter_config.json"),
                             scratch / "adapter_config.json");
  std::filesystem::copy_file(golden_peft("plain_bf16.safetensors"),
                             scratch / "adapter_model.safetensors");
  const auto modules = modules_of("causal_lm");
  const Adapter half = load_adapter(scratch.path(), modules);
  const Adapter full = load_adapter(golden_peft("plain"), modules);
  for (size_t i = 0; i < modules.size(); ++i) {
    const LoraWeights* lora = half.lora(static_cast<int64_t>(i));
    if (lora == nullptr) continue;
    EXPECT_EQ(lora->a.scalar_type(), at::kFloat);
    // bfloat16 has eight significant bits.
    EXPECT_TRUE(testing::all_close(lora->a, full.lora(static_cast<int64_t>(i))->a, 0x1p-8));
  }
}

// ---- Configurations -----------------------------------------------------------------------------

json minimal() { return {{"peft_type", "LORA"}, {"target_modules", {"q_proj"}}}; }

std::string refusal(const json& config) {
  try {
    parse_adapter_config(config.dump(), "file");
  } catch (const FormatError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(PeftConfig, MissingKeysHavePeftsDefaults) {
  const LoraConfig config = parse_adapter_config(minimal().dump(), "file");
  LoraConfig expected;
  expected.target_modules = std::vector<std::string>{"q_proj"};
  EXPECT_EQ(config, expected);
}

TEST(PeftConfig, WhatChangesTheComputationIsRefused) {
  const std::map<std::string, json> changes = {
      {"use_dora", true},
      {"lora_bias", true},
      {"layer_replication", {{0, 2}, {1, 3}}},
      {"trainable_token_indices", {3}},
      {"target_parameters", {"experts.up"}},
      {"alora_invocation_tokens", {1, 2}},
      {"use_qalora", true},
      {"use_bdlora", {{"nblocks", 2}}},
      {"corda_config", {{"corda_method", "kpm"}}},
      {"eva_config", {{"rho", 2.0}}},
      {"arrow_config", {{"top_k", 3}}},
      {"kasa_config", {{"beta", 1e-4}}},
      {"velora_config", {{"scale", 1.0}}},
      {"monteclora_config", {{"num_samples", 8}}},
      {"loftq_config", {{"loftq_bits", 4}}},
      {"megatron_config", {{"hidden", 1}}},
      {"ensure_weight_tying", true},
      {"layers_pattern", "h"},
      {"something_new", 0.5},
  };
  for (const auto& [key, value] : changes) {
    json config = minimal();
    config[key] = value;
    EXPECT_THAT(refusal(config), HasSubstr("file: " + key + " = "));
    EXPECT_THAT(refusal(config), HasSubstr("is not supported"));
    for (const json& harmless : {json(), json(false), json::array(), json::object(), json("")}) {
      config[key] = harmless;
      EXPECT_EQ(refusal(config), "accepted") << config;
    }
  }
}

TEST(PeftConfig, InitialisationsThatChangeTheBaseAreRefused) {
  for (const char* init :
       {"pissa", "pissa_niter_16", "olora", "corda", "loftq", "eva", "lora_ga"}) {
    json config = minimal();
    config["init_lora_weights"] = init;
    EXPECT_THAT(refusal(config), HasSubstr("init_lora_weights"));
  }
  json config = minimal();
  config["init_lora_weights"] = false;
  EXPECT_EQ(refusal(config), "accepted");
}

TEST(PeftConfig, WrongTypesAndValuesAreRefused) {
  const std::vector<std::pair<std::string, json>> wrong = {
      {"peft_type", "IA3"},
      {"peft_type", json()},
      {"target_modules", json()},
      {"target_modules", {1}},
      {"target_modules", 3},
      {"r", "8"},
      {"r", 0},
      {"r", 2.5},
      {"r", 18446744073709551615ull},
      {"lora_alpha", "1"},
      {"lora_dropout", 1.0},
      {"lora_dropout", -0.1},
      {"bias", "some"},
      {"bias", 1},
      {"task_type", "SEQ_2_SEQ_LM"},
      {"use_rslora", 1},
      {"modules_to_save", "lm_head"},
      {"layers_to_transform", {"0"}},
      {"rank_pattern", {{"q_proj", -1}}},
      {"rank_pattern", {4}},
      {"alpha_pattern", {{"q_proj", "a"}}},
  };
  for (const auto& [key, value] : wrong) {
    json config = minimal();
    config[key] = value;
    EXPECT_THAT(refusal(config), HasSubstr(key)) << config;
  }
  EXPECT_THROW(parse_adapter_config("{\"r\": ", "file"), FormatError);
  EXPECT_THROW(parse_adapter_config("[]", "file"), FormatError);
  EXPECT_THROW(parse_adapter_config("", "file"), FormatError);
  json config = minimal();
  config["layers_to_transform"] = 1;
  EXPECT_EQ(parse_adapter_config(config.dump(), "file").layers_to_transform,
            (std::vector<int64_t>{1}));
}

TEST(PeftConfig, AllLinearIsWrittenAsWhatItStoodFor) {
  const auto modules = modules_of("causal_lm");
  LoraConfig config{.target_modules = "all-linear"};
  const auto written = [&](const LoraConfig& c) {
    return json::parse(adapter_config_text(zero_adapter(c, modules), ""))["target_modules"];
  };
  EXPECT_EQ(written(config),
            json({"down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"}));
  config.modules_to_save = {"1.mlp.up_proj"};
  EXPECT_EQ(written(config).size(), 20u);  // names would say too much: whole paths
}

// ---- Files --------------------------------------------------------------------------------------

class PeftFolder : public ::testing::Test {
 protected:
  PeftFolder() {
    std::filesystem::copy(golden_peft("plain"), folder());
    tensors_ = read_safetensors(folder() / "adapter_model.safetensors");
  }
  std::filesystem::path folder() const { return scratch_ / "adapter"; }
  void write() { write_safetensors(folder() / "adapter_model.safetensors", tensors_); }
  std::string refusal(const std::vector<ModuleInfo>& modules) const {
    try {
      load_adapter(folder(), modules);
    } catch (const FormatError& error) {
      return error.what();
    }
    return "accepted";
  }

  const ScratchFolder scratch_;
  std::vector<ModuleInfo> modules_ = modules_of("causal_lm");
  NamedTensors tensors_;
};

TEST_F(PeftFolder, MissingFilesAreNamed) {
  EXPECT_EQ(refusal(modules_), "accepted");
  std::filesystem::remove(folder() / "adapter_model.safetensors");
  EXPECT_THAT(refusal(modules_), HasSubstr("adapter_model.safetensors: no such file"));
  write_text(folder() / "adapter_model.bin", "pickle");
  EXPECT_THAT(refusal(modules_), HasSubstr("save the adapter again with PEFT"));
  std::filesystem::remove(folder() / "adapter_config.json");
  EXPECT_THAT(refusal(modules_), HasSubstr("adapter_config.json: no such file"));
}

TEST_F(PeftFolder, TruncatedTensorsAreRefused) {
  const std::string bytes = read_text(folder() / "adapter_model.safetensors");
  for (const size_t length : {size_t{0}, size_t{7}, size_t{100}, bytes.size() - 1}) {
    write_text(folder() / "adapter_model.safetensors", bytes.substr(0, length));
    EXPECT_NE(refusal(modules_), "accepted") << length;
  }
}

TEST_F(PeftFolder, MissingAndSurplusTensorsAreRefused) {
  const auto last = tensors_.back();
  tensors_.pop_back();
  write();
  EXPECT_THAT(refusal(modules_), HasSubstr("tensor " + last.first + " is missing"));
  tensors_.push_back(last);
  tensors_.emplace_back("base_model.model.score.weight", at::zeros({1, 32}));
  write();
  EXPECT_THAT(refusal(modules_), HasSubstr("base_model.model.score.weight has no place"));
}

TEST_F(PeftFolder, AnAdapterForAnotherModelIsRefused) {
  auto wider = modules_;
  for (ModuleInfo& module : wider) module.in_features *= 2;
  EXPECT_THAT(refusal(wider), HasSubstr("has shape [3, 32] where [3, 64] is needed"));
  auto renamed = modules_;
  for (ModuleInfo& module : renamed) module.path += "_other";
  EXPECT_THAT(refusal(renamed), HasSubstr("does not fit this model"));
  auto shallow = modules_;
  std::erase_if(shallow, [](const auto& m) { return m.path.find("layers.2") != m.path.npos; });
  EXPECT_THAT(refusal(shallow), HasSubstr("layers.2.self_attn.q_proj.lora_A.weight has no place"));
}

TEST_F(PeftFolder, ARankThatDisagreesIsRefused) {
  json config = json::parse(read_text(folder() / "adapter_config.json"));
  config["r"] = 1ll << 60;  // nothing of that size may be allocated
  write_text(folder() / "adapter_config.json", config.dump());
  EXPECT_THAT(refusal(modules_), HasSubstr("has shape [3, 32] where [1152921504606846976, 32]"));
}

TEST_F(PeftFolder, BiasesOfOlderVersionsAreFound) {
  const std::string inner = ".base_layer.bias";
  std::filesystem::copy(
      golden_peft("biases"), folder(),
      std::filesystem::copy_options::overwrite_existing | std::filesystem::copy_options::recursive);
  tensors_ = read_safetensors(folder() / "adapter_model.safetensors");
  int renamed = 0;
  for (auto& [name, tensor] : tensors_) {
    if (!name.ends_with(inner)) continue;
    name = name.substr(0, name.size() - inner.size()) + ".bias";
    ++renamed;
  }
  EXPECT_EQ(renamed, 2);
  write();
  EXPECT_EQ(refusal(modules_), "accepted");
}

// Names of another tool: the message shows one of them.
TEST_F(PeftFolder, ForeignNamesAreShown) {
  for (auto& [name, tensor] : tensors_) name.replace(0, 17, "diffusion_\x1b");
  write();
  EXPECT_THAT(refusal(modules_),
              ::testing::AllOf(HasSubstr("is missing; it holds diffusion_\\x1b"),
                               HasSubstr("PEFT's names begin with base_model.model.")));
}

// PEFT takes the first key of the file that fits.
TEST(PeftConfig, PatternsKeepTheirOrder) {
  const auto modules = modules_of("causal_lm");
  const auto rank = [&](const std::string& patterns) {
    const LoraConfig config = parse_adapter_config(
        R"({"peft_type":"LORA","r":8,"lora_alpha":8,"target_modules":["q_proj"],"rank_pattern":)" +
            patterns + R"(,"alpha_pattern":)" + patterns + "}",
        "file");
    const LoraTarget target = match_targets(config, modules).at(0);
    EXPECT_EQ(static_cast<double>(target.r), target.alpha);
    // Written and read again it says the same.
    const std::string text = adapter_config_text(zero_adapter(config, modules), "");
    EXPECT_EQ(parse_adapter_config(text, "again").rank_pattern, config.rank_pattern);
    EXPECT_EQ(parse_adapter_config(text, "again").alpha_pattern, config.alpha_pattern);
    return target.r;
  };
  EXPECT_EQ(rank(R"({"q_proj":2,"layers.0.self_attn.q_proj":4,".*attn.*":16})"), 2);
  EXPECT_EQ(rank(R"({"layers.0.self_attn.q_proj":4,"q_proj":2})"), 4);
  EXPECT_EQ(rank(R"({".*attn.*":16,"q_proj":2})"), 16);
}

// GPT-2's Conv1D: copies lie as [in, out] in the file, updates as everywhere.
TEST(PeftAdapter, TrainedCopiesOfTransposedWeights) {
  const ScratchFolder folder;
  const std::vector<ModuleInfo> modules = {
      {.path = "a.b.0.c_attn", .in_features = 3, .out_features = 5, .transposed = true},
      {.path = "a.b.0.c_fc", .in_features = 3, .out_features = 4, .transposed = true}};
  const LoraConfig config{
      .r = 2, .target_modules = std::vector<std::string>{"c_fc"}, .modules_to_save = {"c_attn"}};
  Adapter adapter = zero_adapter(config, modules);
  const at::Tensor whole = at::arange(15.0).view({5, 3}).to(at::kFloat);
  adapter.set_weight_copy(0, trainable_leaf(whole));
  save_adapter(folder.path(), adapter, "base");
  const auto file = open_safetensors(folder.path() / "adapter_model.safetensors");
  const std::string name = "base_model.model.a.b.0.c_attn.weight";
  EXPECT_TRUE(same_bits(file->read(name, at::kFloat), whole.t().contiguous()));
  EXPECT_EQ(file->shape("base_model.model.a.b.0.c_fc.lora_B.weight"), (std::vector<int64_t>{4, 2}));
  EXPECT_TRUE(read_adapter_config(folder.path()).fan_in_fan_out);
  const Adapter read = load_adapter(folder.path(), modules);
  EXPECT_TRUE(same_bits(read.weight_copy(0)->detach(), whole));
  EXPECT_TRUE(read.weight_copy(0)->is_contiguous());
}

TEST(PeftAdapter, FanInFanOutFollowsTheModelAndSaysSo) {
  for (const bool transposed : {false, true}) {
    const ScratchFolder folder;
    const std::vector<ModuleInfo> modules = {
        {.path = "a.b.0.c_fc", .in_features = 3, .out_features = 4, .transposed = transposed}};
    const LoraConfig config{.r = 2, .target_modules = std::vector<std::string>{"c_fc"}};
    save_adapter(folder.path(), zero_adapter(config, modules), "base");
    testing::HeardNotices heard;
    load_adapter(folder.path(), modules);
    EXPECT_TRUE(heard.texts.empty());
    std::vector<ModuleInfo> others = modules;
    others[0].transposed = !transposed;
    load_adapter(folder.path(), others);
    ASSERT_EQ(heard.texts.size(), 1u);
    EXPECT_THAT(heard.texts[0], HasSubstr(transposed ? "fan_in_fan_out is true, but this model's "
                                                       "weights are [out, in]: it is taken as false"
                                                     : "fan_in_fan_out is false, but"));
  }
}

}  // namespace
}  // namespace leash
