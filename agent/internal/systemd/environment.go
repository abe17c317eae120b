package systemd

import (
	"context"
	"strings"
)

// SetOwnDropIn makes sure that the unit has a drop-in of that name and content, and that systemd
// has read it. It is for the agent itself: a request can set what SetDropIn allows.
func (f *Files) SetOwnDropIn(ctx context.Context, unit, name, content string) error {
	if err := checkDropIn(unit, name); err != nil {
		return err
	}
	_, err := f.writeAndReload(ctx, unit, f.dropInPath(unit, name), []byte(
		"# Written by understudy-agent. Changes made by hand are overwritten.\n"+content))
	return err
}

// Words are all words that the unit's next main process may get as arguments: those of its command,
// and those of the values in its environment, which the command may name. What an EnvironmentFile
// has is not among them.
func (f *Files) Words(ctx context.Context, unit string) ([]string, error) {
	conn, err := f.bus.connect(ctx)
	if err != nil {
		return nil, err
	}
	properties, err := conn.GetUnitTypePropertiesContext(ctx, unit, "Service")
	if err != nil {
		return nil, wrap("cannot read the command of", unit, err)
	}
	words := commandWords(properties)
	variables, _ := properties["Environment"].([]string)
	for _, variable := range variables {
		_, value, _ := strings.Cut(variable, "=")
		words = append(words, strings.Fields(value)...)
	}
	return words, nil
}

// commandWords are the arguments of ExecStart: D-Bus has each command as its path, its arguments
// and how it ended.
func commandWords(properties map[string]any) []string {
	commands, _ := properties["ExecStart"].([][]any)
	var words []string
	for _, command := range commands {
		if len(command) < 2 {
			continue
		}
		args, _ := command[1].([]string)
		for _, arg := range args {
			words = append(words, strings.Fields(arg)...)
		}
	}
	return words
}
