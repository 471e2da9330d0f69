// Charts, escaping, and the report of a run.
#include "rl/report/run_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "rl/report/html.h"
#include "rl/report/svg_chart.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::read_text;
using testing::ScratchFolder;
using testing::write_text;

const double kNan = std::numeric_limits<double>::quiet_NaN();

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(HtmlEscape, Everything) {
  EXPECT_EQ(html_escape("<a href=\"x\" b='y'>&amp;"),
            "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;");
  EXPECT_EQ(html_escape("two\nlines\tand é 漢 \U0001F600"), "two\nlines\tand é 漢 \U0001F600");
  EXPECT_EQ(html_escape(std::string_view("\0\x1b\x7f", 3)), "\uFFFD\uFFFD\uFFFD");
}

TEST(HtmlEscape, BrokenUtf8IsReplaced) {
  EXPECT_EQ(html_escape("a\xFF"
                        "b"),
            "a\uFFFDb");
  EXPECT_EQ(html_escape("\xC0\xBC"), "\uFFFD\uFFFD");            // an overlong '<'
  EXPECT_EQ(html_escape("\xE2\x82"), "\uFFFD\uFFFD");            // cut short
  EXPECT_EQ(html_escape("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(html_escape("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(html_escape("\xC3<"), "\uFFFD&lt;");  // must not swallow what follows
}

TEST(ChartTicks, RoundNumbers) {
  EXPECT_THAT(chart_ticks(0, 1, 5), ElementsAre(0, 0.2, ::testing::DoubleNear(0.4, 1e-12),
                                                ::testing::DoubleNear(0.6, 1e-12), 0.8, 1));
  EXPECT_THAT(chart_ticks(-3, 7, 2), ElementsAre(-5, 0, 5, 10));
  EXPECT_THAT(chart_ticks(5, 5, 4), ElementsAre(5));
  EXPECT_LE(chart_ticks(1e16, std::nextafter(1e16, 2e16), 5).size(), 13u);
  EXPECT_LE(chart_ticks(0, 5e-324, 5).size(), 13u);
}

TEST(SvgChart, DrawsLinesBandsAndGaps) {
  const ChartSeries series{
      "s", {1, 2, 3, 4, 5}, {0, 1, kNan, 1, 0}, {-1, 0, 0, 0, -1}, {1, 2, 2, 2, 1}};
  const std::string svg =
      svg_line_chart({.title = "A < B", .x_label = "step", .note = "n&n", .series = {series}});
  EXPECT_THAT(svg, HasSubstr("A &lt; B"));
  EXPECT_THAT(svg, HasSubstr("n&amp;n"));
  EXPECT_EQ(count_of(svg, "class=\"band"), 1u);
  const size_t line = svg.find("class=\"line c0\" d=\"");
  ASSERT_NE(line, std::string::npos);
  const std::string data = svg.substr(line, svg.find("/>", line) - line);
  EXPECT_EQ(count_of(data, "M"), 2u);  // a new piece after the gap
  EXPECT_EQ(count_of(svg, "<circle"), 4u);
  EXPECT_THAT(svg, HasSubstr("step 2: 1 (0 to 2)"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

// Where a point lies: the lowest value on the lowest grid line, left to right.
TEST(SvgChart, PlacesPoints) {
  const std::string svg =
      svg_line_chart({.title = "t", .x_label = "x", .series = {{"", {0, 10}, {0, 5}, {}, {}}}});
  EXPECT_THAT(svg, HasSubstr("cx=\"56.0\" cy=\"214.0\""));  // left, bottom of 460 × 250
  EXPECT_THAT(svg, HasSubstr("cx=\"446.0\" cy=\"40.0\""));  // right, top
}

TEST(SvgChart, OddDataIsDrawnOrLeftOut) {
  const double huge = std::numeric_limits<double>::max(), tiny = 5e-324;
  const std::vector<std::vector<double>> values = {
      {}, {kNan}, {huge, -huge}, {tiny, 0}, {1e16, 1e16 + 2}, {3, 3, 3}, {-0.0}};
  for (const auto& y : values) {
    std::vector<double> x(y.size());
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i);
    const std::string svg =
        svg_line_chart({.title = "t", .x_label = "x", .series = {{"", x, y, {}, {}}}});
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
    EXPECT_LT(svg.size(), 6000u);
  }
}

TEST(SvgChart, LongLinesAreThinnedButKeepTheirPeak) {
  ChartSeries series;
  for (int i = 0; i < 100'000; ++i) {
    series.x.push_back(i);
    series.y.push_back(i == 77'777 ? 9 : 0);
  }
  const std::string svg = svg_line_chart({.title = "t", .x_label = "x", .series = {series}});
  EXPECT_LT(svg.size(), 60'000u);
  EXPECT_THAT(svg, HasSubstr(" 57.4L"));  // 9 of 0 … 10
}

RunReport small_report() {
  RunReport report{.title = "run <x>", .resolved_yaml = "a: <b>"};
  for (int64_t step = 0; step <= 3; ++step) {
    const double s = static_cast<double>(step);
    report.metrics.push_back({step,
                              {{"objective/scores", s},
                               {"eval/reward", s},
                               {"eval/reward_low", s - 1},
                               {"eval/reward_high", s + 1},
                               {"odd/<i>", s},
                               {"perf/seconds", 1}}});
  }
  report.samples = {
      {.step = 0, .prompt = "<script>alert(1)</script>", .answer = "before\n<b>", .score = -0.5},
      {.step = 1, .answer = "between"},
      {.step = 3, .answer = "after", .kl = 2.5, .stop = "<eos>"},
      {.step = 3, .index = 1, .answer = "no before"}};
  return report;
}

TEST(RunReport, HoldsCurvesAnswersAndConfiguration) {
  const std::string html = run_report_html(small_report());
  EXPECT_EQ(count_of(html, "<svg"), 4u);  // eval/reward with its band, reward, odd, perf
  EXPECT_EQ(count_of(html, "class=\"band"), 1u);
  EXPECT_THAT(html, HasSubstr("<title>run &lt;x&gt;</title>"));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;"));
  EXPECT_THAT(html, HasSubstr("before\n&lt;b&gt;"));
  EXPECT_THAT(html, HasSubstr("reward -0.5"));
  EXPECT_THAT(html, HasSubstr("KL 2.5 · &lt;eos&gt;"));
  EXPECT_THAT(html, HasSubstr("<pre>a: &lt;b&gt;</pre>"));
  EXPECT_THAT(html, HasSubstr("odd/&lt;i&gt;"));
  EXPECT_THAT(html, HasSubstr("0 → 3"));
  for (const char* never :
       {"between", "no before", "<script", "<i>", "http://", "https://", "src="}) {
    EXPECT_THAT(html, Not(HasSubstr(never)));
  }
}

// What the user looks for first stands above what is folded away; nobody is called the policy.
TEST(RunReport, SupervisedCurvesStandAboveTheFold) {
  RunReport report;
  for (int64_t step = 1; step <= 3; ++step) {
    const double s = static_cast<double>(step);
    report.metrics.push_back({step,
                              {{"loss", 3 - s},
                               {"grad_norm", s},
                               {"learning_rate", 1e-3},
                               {"epoch", s / 10},
                               {"eval/loss", 4 - s},
                               {"eval/perplexity", std::exp(4 - s)},
                               {"trained_tokens", 12},
                               {"perf/seconds", 1}}});
  }
  const std::string html = run_report_html(report);
  const size_t fold = html.find("<details><summary>All other metrics");
  ASSERT_NE(fold, std::string::npos);
  for (const char* above : {">Loss<", "held out", ">Learning rate<", ">Gradient norm<",
                            ">eval/perplexity<", "<h2>Held-out data</h2>"}) {
    EXPECT_LT(html.find(above), fold) << above;
  }
  for (const char* below : {">trained_tokens<", ">epoch<", ">perf/seconds<"}) {
    EXPECT_GT(html.find(below), fold) << below;
    EXPECT_NE(html.find(below), std::string::npos) << below;
  }
}

TEST(RunReport, GivenFiguresAreShown) {
  RunReport report = small_report();
  report.figures = {{"held-out <reward>", "0.4 → 1.6", "95 % 1.4 … 1.8"}};
  const std::string html = run_report_html(report);
  EXPECT_THAT(html, HasSubstr("<b>0.4 → 1.6</b><span>held-out &lt;reward&gt;</span>"));
  EXPECT_THAT(html, Not(HasSubstr("first to last step")));
}

// The card is about the adapter that the user gets.
TEST(RunReport, ItsHeadlineIsTheExportedAdapters) {
  RunReport report{.metrics = {{.step = 0, .metrics = {{"eval/sampled/reward", 0.5}}},
                               {.step = 10, .metrics = {{"eval/sampled/reward", 2.5}}},
                               {.step = 15, .metrics = {{"eval/sampled/reward", 1.5}}}},
                   .samples = {{.step = 0, .decoding = "greedy", .answer = "first"},
                               {.step = 10, .decoding = "greedy", .answer = "exported"},
                               {.step = 15, .decoding = "greedy", .answer = "last"}}};
  EXPECT_THAT(run_report_html(report), HasSubstr("<b>0.5 → 1.5</b>"));
  EXPECT_THAT(run_report_html(report), HasSubstr("last"));
  report.exported_step = 10;
  const std::string html = run_report_html(report);
  EXPECT_THAT(html, HasSubstr("<b>0.5 → 2.5</b>"));
  EXPECT_THAT(html, HasSubstr("step 10, whose adapter was exported"));
  EXPECT_THAT(html, HasSubstr(">exported<"));
  EXPECT_THAT(html, Not(HasSubstr(">last<")));
}

TEST(RunReport, IsWrittenFromAFolder) {
  ScratchFolder folder;
  EXPECT_THAT(read_text(write_run_report(folder.path())), HasSubstr("No step was finished yet"));
  write_text(folder / "metrics.jsonl", "{\"step\": 1, \"loss\": 2.5}\n{\"step\": 2, \"lo");
  write_text(folder / "resolved.yaml", "seed: 1");
  const std::string html = read_text(write_run_report(folder.path()));
  EXPECT_THAT(html, HasSubstr("step 1: 2.5"));
  EXPECT_THAT(html, HasSubstr("seed: 1"));
}

}  // namespace
}  // namespace leash
