// Line charts as SVG text, for pages that open offline and need no script. Colours come from
// the style of html_page (rl/report/html.h), so that one page serves light and dark screens.
#pragma once

#include <string>
#include <vector>

namespace leash {

// One line. Points that are not finite leave a gap. `low` and `high`, when given, have the size of
// `y` and draw a band around it (a 95 % interval, say).
struct ChartSeries {
  std::string name{};  // shown in a legend when the chart has several series
  std::vector<double> x{};
  std::vector<double> y{};
  std::vector<double> low{};
  std::vector<double> high{};
};

struct LineChart {
  std::string title{};
  std::string x_label{};
  std::string note{};  // small text under the title: unit, or what to look for
  std::vector<ChartSeries> series{};
  bool from_zero = false;  // the y axis includes 0
  bool smooth = false;     // long noisy lines: faint as they are, bold as a moving average
  int width = 460;         // the shape; the page scales it to its column
  int height = 250;
};

// The chart as one <svg> element; texts are escaped. A chart without a finite point says so.
std::string svg_line_chart(const LineChart& chart);

// Round numbers that cover [low, high], about `count` of them, for axes: 0, 0.5, 1, …
std::vector<double> chart_ticks(double low, double high, int count);

}  // namespace leash
