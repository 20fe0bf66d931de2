// A module of its own, so that retryd does not depend on Grafana's types for the sake of one test.
module retryd/deploy/grafana/verify

go 1.26.8

require (
	github.com/grafana/grafana-foundation-sdk/go v0.0.22
	github.com/stretchr/testify v1.12.1
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect
