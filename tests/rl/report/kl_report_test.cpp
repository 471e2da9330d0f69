// What the KL report says and shows, against numbers written out, with texts that would be HTML.
#include "rl/report/kl_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>

#include "tests/support/files.h"

namespace leash {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kHostile = "<script src=\"http://x\">alert('&')</script>";

// Two texts under one policy: log-ratios 1, -0.5 and 0.1; the first text is hostile.
KlReport report() {
  KlReport report;
  report.model = "tiny<model>";
  report.reference = "base";
  KlPolicyReport policy;
  policy.policy = "runs/<b>a</b>";
  KlReportText first;
  first.line = 1;
  first.ids = {7, 8, 9};
  first.tokens = {kHostile, "b\n"};
  first.context = "<i>";
  first.text = first.context + kHostile + "b\n";
  first.values = {
      .prompt = 1, .kl = {0.5, 1.5}, .logprobs = {-1, -2}, .reference_logprobs = {-2, -1.5}};
  KlReportText second = first;
  second.line = 2;
  second.ids = {7, 8};
  second.tokens = {"c"};
  second.text = "<i>c";
  second.values = {.prompt = 2, .kl = {3}, .logprobs = {-1}, .reference_logprobs = {-1.1}};
  policy.texts = {first, second};
  policy.summary = summarize_kl(std::vector<KlText>{first.values, second.values});
  report.policies = {policy};
  return report;
}

double k3(double log_ratio) { return std::exp(-log_ratio) - 1 + log_ratio; }

// Half the 95 % interval of two observations: Student's t with one degree of freedom is 12.7062.
double half_interval(double a, double b) {
  return 12.706204736432095 * std::abs(a - b) / std::sqrt(2.0) / std::sqrt(2.0);
}

void expect_measure(const json& measure, double token, double a, double b) {
  EXPECT_NEAR(measure.at("mean_token").get<double>(), token, 1e-12);
  EXPECT_NEAR(measure.at("mean_sequence").get<double>(), (a + b) / 2, 1e-12);
  EXPECT_NEAR(measure.at("ci95").at(0).get<double>(), (a + b) / 2 - half_interval(a, b), 1e-9);
  EXPECT_NEAR(measure.at("ci95").at(1).get<double>(), (a + b) / 2 + half_interval(a, b), 1e-9);
}

TEST(KlReportJson, NumbersAreThoseWrittenOut) {
  const json file = json::parse(kl_report_json(report()));
  EXPECT_EQ(file.at("temperature"), 1.0);
  EXPECT_EQ(file.at("reference"), "base");
  const json policy = file.at("policies").at(0);
  EXPECT_EQ(policy, json::parse(kl_policy_json(report().policies[0])));
  EXPECT_EQ(policy.at("num_texts"), 2);
  EXPECT_EQ(policy.at("num_tokens"), 3);
  const double estimates[] = {k3(1), k3(-0.5), k3(0.1)};
  expect_measure(policy.at("kl"), 5.0 / 3, 2, 3);
  expect_measure(policy.at("k1"), 0.6 / 3, 0.5, 0.1);
  expect_measure(policy.at("k3"), (estimates[0] + estimates[1] + estimates[2]) / 3,
                 estimates[0] + estimates[1], estimates[2]);

  const json first = policy.at("positions").at(0), second = policy.at("positions").at(1);
  EXPECT_EQ(first.at("position"), 1);
  EXPECT_EQ(first.at("n"), 2);
  for (const auto& [name, interval, a, b] : {std::tuple{"kl", "ci95", 0.5, 3.0},
                                             {"k1", "k1_ci95", 1.0, 0.1},
                                             {"k3", "k3_ci95", estimates[0], estimates[2]}}) {
    EXPECT_NEAR(first.at(name).get<double>(), (a + b) / 2, 1e-12) << name;
    EXPECT_NEAR(first.at(interval).at(1).get<double>(), (a + b) / 2 + half_interval(a, b), 1e-9)
        << name;
  }
  EXPECT_EQ(second.at("n"), 1);
  EXPECT_NEAR(second.at("k1").get<double>(), -0.5, 1e-12);
  EXPECT_TRUE(second.at("ci95").is_null()) << "of one text";

  const json text = policy.at("prompts").at(0);
  EXPECT_EQ(text.at("kl"), (std::vector<double>{0.5, 1.5}));
  EXPECT_EQ(text.at("log_ratio"), (std::vector<double>{1, -0.5}));
  EXPECT_EQ(text.at("tokens").at(0), kHostile);
  EXPECT_NEAR(text.at("sum").at("kl").get<double>(), 2, 1e-12);
  EXPECT_NEAR(text.at("sum").at("k1").get<double>(), 0.5, 1e-12);
  EXPECT_NEAR(text.at("sum").at("k3").get<double>(), estimates[0] + estimates[1], 1e-12);
}

TEST(KlReportTable, HasARowForEachMeasureAndPosition) {
  const std::string table = std::regex_replace(kl_report_table(report()), std::regex(" +"), " ");
  for (const char* row :
       {"KL(policy || base) in nats", ": 2 texts, 3 tokens\n",
        "\n exact KL 1.66667 2.5000 [-3.8531, 8.8531]\n",
        "\n k1 0.20000 0.3000 [-2.2412, 2.8412]\n", "\n position tokens exact KL k1 k3\n",
        "\n 1 2 1.75000 0.55000 0.18636\n", "\n 2 1 1.50000 -0.50000 0.14872\n"}) {
    EXPECT_THAT(table, HasSubstr(row));
  }
}

TEST(KlReportPage, LoadsNothingAndShowsTextAsText) {
  const std::string page = kl_report_page(report());
  for (const char* part : {"<script", "<b>a</b>", "<model>", "<i>"}) {
    EXPECT_THAT(page, Not(HasSubstr(part)));
  }
  // What the hostile token says stands there escaped; nothing else names a place to load from.
  const std::string escaped =
      "&lt;script src=&quot;http://x&quot;&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;";
  EXPECT_THAT(page, HasSubstr(escaped));
  std::string rest = page;
  for (size_t at; (at = rest.find(escaped)) != std::string::npos;) rest.erase(at, escaped.size());
  for (const char* part : {"http:", "https:", "src=", "url(", "@import", "<link"}) {
    EXPECT_THAT(rest, Not(HasSubstr(part)));
  }
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
}

// Blue where the policy likes a token more, orange where the reference does, the darkest for the
// largest; the token's numbers are in its tip.
TEST(KlReportPage, TokensAreColouredByTheirLogRatio) {
  const std::string page = kl_report_page(report());
  std::vector<std::string> classes;
  const std::regex token("<span class=\"(t[^\"]*)\" data-t=\"token ([0-9]+)");
  for (std::sregex_iterator it(page.begin(), page.end(), token), end; it != end; ++it) {
    classes.push_back((*it)[1].str() + "/" + (*it)[2].str());
  }
  // The text with the largest KL first; 97 % of three ratios lie up to 0.5, which is the scale.
  EXPECT_EQ(classes, (std::vector<std::string>{"t u1/1", "t u4/1", "t d4/2"}));
  EXPECT_THAT(page, HasSubstr("token 1  id 8\nlog p    -1.0000  policy\nlog q    -2.0000  reference"
                              "\nlog p/q   1.0000\nKL        0.5000"));
  EXPECT_THAT(page, HasSubstr("<span class=muted>↵</span>"));
}

// Who reads the old report meanwhile reads it to its end.
TEST(KlReport, AFileThatIsThereIsReplacedAndNotWrittenInto) {
  const testing::ScratchFolder scratch;
  for (const char* name : {"report.json", "report.html"}) {
    testing::write_text(scratch / name, "old");
    std::filesystem::create_hard_link(scratch / name, scratch / ("held-" + std::string(name)));
  }
  write_kl_report(report(), scratch.path());
  for (const std::string name : {"report.json", "report.html"}) {
    EXPECT_EQ(testing::read_text(scratch / ("held-" + name)), "old");
    EXPECT_NE(testing::read_text(scratch / name), "old");
  }
  const std::filesystem::directory_iterator files(scratch.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 4);
}

}  // namespace
}  // namespace leash
