package ec2lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// model knows the parameters of one action, as the SDK writes them.
type model struct {
	input  reflect.Type
	send   func(*ec2.Client, context.Context, any) error
	leaves map[string]leaf
}

// leaf is the place of a parameter in the input: the fields on the way, -1 standing for a list's
// element.
type leaf struct {
	path []int
	kind reflect.Type
}

const (
	element  = -1
	maxDepth = 8
	maxIndex = 1000
)

var errCaptured = errors.New("captured")

// learn puts every field of the input through the SDK, one at a time.
func learn(input reflect.Type, send func(*ec2.Client, context.Context, any) error) (*model, error) {
	m := &model{input: input, send: send, leaves: map[string]leaf{}}
	for _, l := range leavesOf(input, nil, 0) {
		in := reflect.New(input)
		set(in.Elem(), l.path, nil, sample(l.kind))
		form, err := m.encode(in.Interface(), false)
		if err != nil {
			return nil, err
		}
		for key := range form {
			pattern, _ := split(key)
			m.leaves[pattern] = l
		}
	}
	return m, nil
}

func leavesOf(t reflect.Type, path []int, depth int) []leaf {
	var leaves []leaf
	if depth > maxDepth {
		return nil
	}
	switch {
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct &&
		t.Elem() != reflect.TypeFor[time.Time]():
		return leavesOf(t.Elem(), path, depth)
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		return leavesOf(t.Elem(), append(slices.Clone(path), element), depth+1)
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() {
				leaves = append(leaves, leavesOf(f.Type, append(slices.Clone(path), i), depth+1)...)
			}
		}
		return leaves
	}
	return []leaf{{path, t}}
}

// set puts a value at a place, making what is on the way. Lists grow to the index.
func set(at reflect.Value, path, indices []int, value reflect.Value) {
	if at.Kind() == reflect.Pointer && len(path) > 0 {
		if at.IsNil() {
			at.Set(reflect.New(at.Type().Elem()))
		}
		at = at.Elem()
	}
	switch {
	case len(path) == 0:
		at.Set(value)
	case path[0] == element:
		index := 0
		if len(indices) > 0 {
			index, indices = indices[0]-1, indices[1:]
		}
		for at.Len() <= index {
			at.Set(reflect.Append(at, reflect.Zero(at.Type().Elem())))
		}
		set(at.Index(index), path[1:], indices, value)
	default:
		set(at.Field(path[0]), path[1:], indices, value)
	}
}

func sample(t reflect.Type) reflect.Value {
	v, _ := parse(t, map[reflect.Kind]string{reflect.Bool: "true", reflect.String: "x",
		reflect.Struct: "2020-01-01T00:00:00Z"}[base(t).Kind()], false)
	return v
}

func base(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// parse reads a parameter's text as its type, and knows the words of an enumeration.
func parse(t reflect.Type, text string, strict bool) (reflect.Value, error) {
	value := reflect.New(base(t)).Elem()
	var err error
	switch value.Kind() {
	case reflect.String:
		value.SetString(text)
		if strict && !inEnum(value) {
			err = fmt.Errorf("%q is not one of the values", text)
		}
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		value.SetBool(b)
	case reflect.Int32, reflect.Int64:
		var n int64
		if n, err = strconv.ParseInt(text, 10, value.Type().Bits()); !strict {
			n, err = 1, nil
		}
		value.SetInt(n)
	case reflect.Float64:
		value.SetFloat(1)
	case reflect.Struct:
		var at time.Time
		at, err = time.Parse(time.RFC3339, text)
		value.Set(reflect.ValueOf(at))
	case reflect.Slice:
		value.SetBytes([]byte(text))
	}
	if t.Kind() == reflect.Pointer {
		return value.Addr(), err
	}
	return value, err
}

func inEnum(value reflect.Value) bool {
	values := value.MethodByName("Values")
	if !values.IsValid() {
		return true
	}
	list := values.Call(nil)[0]
	for i := range list.Len() {
		if list.Index(i).String() == value.String() {
			return true
		}
	}
	return false
}

// split takes the indices out of a parameter's name.
func split(key string) (pattern string, indices []int) {
	parts := strings.Split(key, ".")
	for i, part := range parts {
		if n, err := strconv.Atoi(part); err == nil {
			parts[i] = "N"
			indices = append(indices, n)
		}
	}
	return strings.Join(parts, "."), indices
}

// decode reads a request. What the SDK would not have written in just this way is refused.
func (m *model) decode(form url.Values) (any, error) {
	in := reflect.New(m.input)
	for key, values := range form {
		pattern, indices := split(key)
		l, ok := m.leaves[pattern]
		if !ok {
			return nil, refuse("UnknownParameter", "The parameter %s is not recognized", key)
		}
		for _, n := range indices {
			if n < 1 || n > maxIndex {
				return nil, refuse("InvalidParameterValue", "The index of %s is out of bounds", key)
			}
		}
		value, err := parse(l.kind, values[0], true)
		if err != nil || len(values) != 1 {
			return nil, refuse("InvalidParameterValue", "Invalid value '%s' for %s", values[0], key)
		}
		set(in.Elem(), l.path, indices, value)
	}
	again, err := m.encode(in.Interface(), true)
	if err != nil {
		return nil, refuse("MissingParameter", "%s", err)
	}
	if !reflect.DeepEqual(again, form) {
		return nil, refuse("MalformedQueryString",
			"The request is not as the SDK writes it: %v is %v", form, again)
	}
	return in.Interface(), nil
}

// encode is the request that the SDK makes of an input; whole says that required fields must be
// there.
func (m *model) encode(in any, whole bool) (url.Values, error) {
	var form url.Values
	client := ec2.New(ec2.Options{Region: "lab", Credentials: aws.AnonymousCredentials{},
		Retryer: aws.NopRetryer{},
		APIOptions: []func(*middleware.Stack) error{func(stack *middleware.Stack) error {
			// most actions have none
			_, _ = stack.Initialize.Remove("OperationIdempotencyTokenAutoFill")
			if !whole {
				if err := withoutValidation(stack); err != nil {
					return err
				}
			}
			return stack.Build.Add(middleware.BuildMiddlewareFunc("capture",
				func(_ context.Context, in middleware.BuildInput, _ middleware.BuildHandler) (
					out middleware.BuildOutput, metadata middleware.Metadata, err error) {
					body, err := io.ReadAll(in.Request.(*smithyhttp.Request).GetStream())
					if err == nil {
						form, err = url.ParseQuery(string(body))
					}
					return out, metadata, errors.Join(errCaptured, err)
				}), middleware.Before)
		}}})
	if err := m.send(client, context.Background(), in); !errors.Is(err, errCaptured) {
		return nil, err
	}
	form.Del("Action")
	form.Del("Version")
	return form, nil
}

func withoutValidation(stack *middleware.Stack) error {
	_, _ = stack.Initialize.Remove("OperationInputValidation") // some actions have none
	return nil
}
