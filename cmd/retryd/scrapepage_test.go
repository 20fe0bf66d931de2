package main

// scrapePage is the page of metrics' part about scraping. What it says of the daemon is held to it by
// TestMetricsAreServedInEachForm, and by the test in deploy/prometheus with a real Prometheus.
const scrapePage = `## How to scrape

    scrape_configs:
      - job_name: retryd
        static_configs:
          - targets: ["127.0.0.1:9464"]

Every minute or half minute is enough. With ` + "`server.web_config`" + ` set, the scrape needs the same TLS and user as people do:
` + "`scheme`, `tls_config`, `basic_auth`" + `.

Each histogram is there twice: with classic buckets, in the series ` + "`…_bucket`, `…_sum` and `…_count`" + `, and as a native
histogram, whose buckets are never more than 10 % apart, under its name alone. Native ones are sent only to a Prometheus
that asks for protobuf, and one that takes them drops the classic form of the same histogram unless it is told to keep
both. So without the second setting of its version, a query for ` + "`…_bucket`" + ` finds nothing.

| Prometheus | takes native histograms with | keeps the classic ones beside them with |
|---|---|---|
| 3.9 and later | ` + "`scrape_native_histograms: true`" + ` | ` + "`always_scrape_classic_histograms: true`" + ` |
| 3.8 | the same, or ` + "`--enable-feature=native-histograms`" + ` | the same |
| 3.0 to 3.7 | ` + "`--enable-feature=native-histograms`" + ` | the same |
| 2.45 to 2.55 | the same flag | ` + "`scrape_classic_histograms: true`" + ` |
| 2.40 to 2.44 | the same flag | it cannot |

A Prometheus that is told nothing takes the classic ones, as before. With the operator, a ServiceMonitor has
` + "`scrapeNativeHistograms` and `scrapeClassicHistograms`" + `. ` + "`/metrics`" + ` speaks the text format, OpenMetrics and protobuf. When a series
began goes with protobuf alone, where it costs no series.
`
