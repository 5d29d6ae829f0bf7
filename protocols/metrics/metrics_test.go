package metrics

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func text(t *testing.T, r *Registry) string {
	t.Helper()
	var b strings.Builder
	n, err := r.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("WriteTo = %d, %v; wrote %d", n, err, b.Len())
	}
	return b.String()
}

func TestText(t *testing.T) {
	t.Parallel()
	r := New()
	logins := r.Counter("logins_total", "Logins.\nBy result, \\ and all.", "service", "result")
	took := r.Histogram("took_seconds", "Time.", []float64{0.1, 1}, "op")
	r.Gauge("open", "Open now.", func(set func(float64, ...string)) { set(3, `a "b"\`+"\n") }, "name")
	r.Count("seen_total", "Seen.", func(set func(float64, ...string)) { set(1e21) })
	r.Counter("never_total", "Never counted.")
	logins.Add(1, "imap", "wrong")
	logins.Add(1, "imap", "ok")
	logins.Add(2, "imap", "ok")
	for _, v := range []float64{0.05, 0.1, 0.5, 7} {
		took.Observe(v, "bind")
	}
	want := `# HELP logins_total Logins.\nBy result, \\ and all.
# TYPE logins_total counter
logins_total{service="imap",result="ok"} 3
logins_total{service="imap",result="wrong"} 1
# HELP took_seconds Time.
# TYPE took_seconds histogram
took_seconds_bucket{op="bind",le="0.1"} 2
took_seconds_bucket{op="bind",le="1"} 3
took_seconds_bucket{op="bind",le="+Inf"} 4
took_seconds_sum{op="bind"} 7.65
took_seconds_count{op="bind"} 4
# HELP open Open now.
# TYPE open gauge
open{name="a \"b\"\\\n"} 3
# HELP seen_total Seen.
# TYPE seen_total counter
seen_total 1e+21
# HELP never_total Never counted.
# TYPE never_total counter
`
	if diff := cmp.Diff(want, text(t, r)); diff != "" {
		t.Error(diff)
	}
}

func TestBugsPanic(t *testing.T) {
	t.Parallel()
	r := New()
	c := r.Counter("a_total", "A.", "label")
	for name, f := range map[string]func(){
		"a bad name":       func() { r.Counter("a-total", "A.") },
		"a bad label":      func() { r.Counter("b_total", "B.", "1st") },
		"the same name":    func() { r.Gauge("a_total", "A.", nil) },
		"too few values":   func() { c.Add(1) },
		"too many values":  func() { c.Add(1, "x", "y") },
		"bounds that fall": func() { r.Histogram("h", "H.", []float64{2, 1}) },
		"a sample with more": func() {
			r.Gauge("g", "G.", func(set func(float64, ...string)) { set(1, "x") })
			r.WriteTo(new(strings.Builder))
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s does not panic", name)
				}
			}()
			f()
		}()
	}
}

func TestManyCountAtOnce(t *testing.T) {
	t.Parallel()
	r := New()
	c := r.Counter("n_total", "N.", "worker")
	h := r.Histogram("h", "H.", []float64{1})
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 1000 {
				c.Add(1, "same")
				h.Observe(2)
				r.WriteTo(new(strings.Builder))
			}
		})
	}
	workers.Wait()
	got := text(t, r)
	for _, want := range []string{"n_total{worker=\"same\"} 4000\n", "h_count 4000\n", "h_bucket{le=\"1\"} 0\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
