package main

import (
	"encoding/json"
	"io"
)

// report is a result for programs: every sample, and what the tables say.
type report struct {
	*Result
	Comparisons []comparison `json:"comparisons"`
}

// writeJSON prints a result for programs.
func writeJSON(w io.Writer, r *Result) error {
	rep := report{Result: r}
	for _, m := range metrics {
		for _, pr := range r.Points {
			rep.Comparisons = append(rep.Comparisons, compare(pr, m))
		}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rep)
}
