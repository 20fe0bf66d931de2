package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// factory makes series under the program's name and registers them.
type factory struct{ reg prometheus.Registerer }

const namespace = "retryd"

func (f factory) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	f.reg.MustRegister(v)
	return v
}

func (f factory) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	f.reg.MustRegister(v)
	return v
}

// A scraper that asks for protobuf gets each histogram twice, with its classic buckets and as a
// native one; any other gets the classic buckets.
const (
	nativeFactor     = 1.1 // each bucket's upper bound is at most this many times the one before it
	nativeMaxBuckets = 100 // of one histogram; beyond them it starts anew, or gets coarser
	nativeMinReset   = time.Hour
)

func (f factory) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeMaxBuckets, NativeHistogramMinResetDuration: nativeMinReset,
	}, labels)
	f.reg.MustRegister(v)
	return v
}

func (f factory) gaugeFunc(name, help string, get func() float64) {
	f.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, get))
}
