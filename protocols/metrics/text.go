package metrics

import (
	"bytes"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ContentType is what HTTP calls the format.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// WriteTo writes all metrics in the order of their creation, series in the order of their labels.
func (r *Registry) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	families := slices.Clone(r.families)
	r.mu.Unlock()
	var out writer
	for _, f := range families {
		h := f.about()
		out.WriteString("# HELP " + h.name + " " + escapeHelp.Replace(h.help) + "\n# TYPE " + h.name + " " + h.kind + "\n")
		f.write(&out)
	}
	return out.WriteTo(w)
}

var (
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	escapeValue = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

type writer struct{ bytes.Buffer }

// line writes one number. extra is another label with its value, or nothing.
func (w *writer) line(h *head, suffix string, values []string, v float64, extra ...string) {
	w.WriteString(h.name + suffix)
	labels := slices.Clone(h.labels)
	if len(extra) == 2 {
		labels, values = append(labels, extra[0]), append(slices.Clone(values), extra[1])
	}
	for i, label := range labels {
		w.WriteByte("{,"[min(i, 1)])
		w.WriteString(label + `="` + escapeValue.Replace(strings.ToValidUTF8(values[i], "\uFFFD")) + `"`)
	}
	if len(labels) > 0 {
		w.WriteByte('}')
	}
	w.WriteString(" " + number(v) + "\n")
}

// number writes v as Go's ParseFloat reads it, infinities with their sign.
func number(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// values undoes head.series.
func (h *head) values(key string) []string {
	if len(h.labels) == 0 {
		return nil
	}
	return strings.Split(key, "\x00")
}

func (c *Counter) write(w *writer) {
	c.mu.Lock()
	counts := maps.Clone(c.counts)
	c.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		w.line(c.head, "", c.values(key), counts[key])
	}
}

func (h *Histogram) write(w *writer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(h.rows)) {
		r, values := h.rows[key], h.values(key)
		var below uint64
		for i, n := range r.buckets {
			below += n
			bound := math.Inf(1)
			if i < len(h.bounds) {
				bound = h.bounds[i]
			}
			w.line(h.head, "_bucket", values, float64(below), "le", number(bound))
		}
		w.line(h.head, "_sum", values, r.sum)
		w.line(h.head, "_count", values, float64(below))
	}
}

func (s *sampled) write(w *writer) {
	s.sample(func(v float64, values ...string) {
		s.series(values) // panics when the number of values is wrong
		w.line(s.head, "", values, v)
	})
}
