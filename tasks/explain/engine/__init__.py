"""The mathematics behind the techniques: plain functions on arrays and compiled graphs, that know no settings or files.

coalitions, masking, smooth_regression    Shapley values from coalitions of features
first_layer                               what a first Dense layer lets masks and paths leave out
expected_gradients                        Shapley values from gradients
shapley_library, shap_guard               the shap library's own explainers
lime_neighbours, lime_regression          LIME's neighbourhood and its weighted ridge
gradients, encoded_gradients              gradients in pixels, and in the columns of a table's matrix
activation_maps, overlays                 class activation maps, and pictures of maps
scores, sign_flips, strata                what permutation importance measures, tests and conditions on
shapes                                    sampling, grids and answers of global shape
"""
