package replay

// Expectation is a difference that is there on purpose.
type Expectation struct {
	Name   string // for people and for Result.Expected
	Reason string
}

// Expectations are all of them.
var Expectations = []Expectation{
	{Name: inTurn, Reason: "the module submits the WRITEs of a WRITE SAME all at once and needs a buffer for each; " +
		"here one follows the other, so that the memory is bounded"},
}

const inTurn = "WRITE SAME in turn"

// use adds a name to the result, in the order of the table.
func (r *run) use(name string) {
	names := map[string]bool{name: true}
	for _, n := range r.res.Expected {
		names[n] = true
	}
	r.res.Expected = nil
	for i := range Expectations {
		if names[Expectations[i].Name] {
			r.res.Expected = append(r.res.Expected, Expectations[i].Name)
		}
	}
}
