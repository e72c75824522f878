"""Where does the silicon atom go under the beam, and how is it brought home? From atoms to states, and from rates to plans: numpy in, numpy out."""
