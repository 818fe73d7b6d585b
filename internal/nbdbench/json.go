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

// writeJSON prints the results for programs, one for each client.
func writeJSON(w io.Writer, results []*Result) error {
	var reports []report
	for _, r := range results {
		rep := report{Result: r}
		for _, m := range metrics {
			for _, pr := range r.Points {
				rep.Comparisons = append(rep.Comparisons, compare(pr, m))
			}
		}
		reports = append(reports, rep)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(reports)
}
