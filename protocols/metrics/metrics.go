// Package metrics counts what a server does and writes the numbers in the text format that Prometheus reads
// ("Exposition formats", version 0.0.4).
//
// A metric has a name, a line of help and some labels: a counter of logins has one number for each service and result.
// A number appears when it is first counted. Values of labels must come from small sets, such as names of services;
// never from what a client sends, or a stranger could fill the memory.
//
//	r := metrics.New()
//	logins := r.Counter("dirpost_logins_total", "Logins by result.", "service", "result")
//	logins.Add(1, "imap", "ok")
//	r.WriteTo(w)
//
// Names and labels are constants of the program; one that the format does not allow is a bug and panics at once.
//
// Start reading at [Registry]; text.go writes.
package metrics

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

var nameRule = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// A Registry is a set of metrics. All methods, and those of the metrics it makes, may be called concurrently.
type Registry struct {
	mu       sync.Mutex // guards families
	families []family
}

// A family is all series of one name.
type family interface {
	about() *head
	write(w *writer)
}

// A head is what every family has.
type head struct {
	name, help, kind string
	labels           []string
}

func (h *head) about() *head { return h }

// New returns an empty Registry.
func New() *Registry { return &Registry{} }

// add registers f in the order of creation.
func (r *Registry) add(f family) {
	h := f.about()
	for _, name := range append([]string{h.name}, h.labels...) {
		if !nameRule.MatchString(name) {
			panic(fmt.Sprintf("metrics: bad name %q", name))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.families, func(other family) bool { return other.about().name == h.name }) {
		panic(fmt.Sprintf("metrics: %s is there twice", h.name))
	}
	r.families = append(r.families, f)
}

// A series is the values of the labels as one key.
func (h *head) series(values []string) string {
	if len(values) != len(h.labels) {
		panic(fmt.Sprintf("metrics: %s has %d labels, got %q", h.name, len(h.labels), values))
	}
	return strings.Join(values, "\x00")
}

// A Counter only grows.
type Counter struct {
	*head
	mu     sync.Mutex // guards counts
	counts map[string]float64
}

// Counter adds a counter. By custom its name ends in _total.
func (r *Registry) Counter(name, help string, labels ...string) *Counter {
	c := &Counter{head: &head{name, help, "counter", labels}, counts: map[string]float64{}}
	r.add(c)
	return c
}

// Add counts n more, which is not negative, for these values of the labels.
func (c *Counter) Add(n float64, values ...string) {
	key := c.series(values)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[key] += n
}

// A Histogram tells how many observed values were below each of some bounds.
type Histogram struct {
	*head
	bounds []float64
	mu     sync.Mutex // guards series and what is in it
	rows   map[string]*row
}

// A row is one series of a histogram.
type row struct {
	buckets []uint64 // by bound, and one for all that is above; not cumulated
	sum     float64
}

// Seconds are bounds for what takes from a tenth of a millisecond to ten seconds.
var Seconds = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// Histogram adds a histogram with bounds that ascend.
func (r *Registry) Histogram(name, help string, bounds []float64, labels ...string) *Histogram {
	if !slices.IsSorted(bounds) {
		panic(fmt.Sprintf("metrics: bounds of %s do not ascend", name))
	}
	h := &Histogram{head: &head{name, help, "histogram", labels}, bounds: bounds, rows: map[string]*row{}}
	r.add(h)
	return h
}

// Observe counts one value for these values of the labels.
func (h *Histogram) Observe(v float64, values ...string) {
	key := h.series(values)
	i, _ := slices.BinarySearch(h.bounds, v) // a bucket holds what equals its bound
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rows[key]
	if r == nil {
		r = &row{buckets: make([]uint64, len(h.bounds)+1)}
		h.rows[key] = r
	}
	r.buckets[i]++
	r.sum += v
}

// A sampled family asks for its numbers when it is written.
type sampled struct {
	*head
	sample func(set func(v float64, values ...string))
}

// Gauge adds a metric that goes up and down. Whenever it is written, sample is called and sets what is to be seen.
func (r *Registry) Gauge(name, help string, sample func(set func(v float64, values ...string)), labels ...string) {
	r.add(&sampled{&head{name, help, "gauge", labels}, sample})
}

// Count adds a counter whose numbers are kept elsewhere; sample is as for [Registry.Gauge].
func (r *Registry) Count(name, help string, sample func(set func(v float64, values ...string)), labels ...string) {
	r.add(&sampled{&head{name, help, "counter", labels}, sample})
}
